"""The vllm engine with a real vLLM on a CPU and a small random model: requests stream, and errors stay where they are."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.tiny import build_llama, without_system_role
from shardmill.core.answers import parse_answer
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Reply, Sampling, TextRequest
from shardmill.models.text import vllm_loop
from shardmill.models.text.vllm import VllmModel
from shardmill.negbench.answers import ObjectList
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.signals import stopping_when

SETTINGS: dict[str, Any] = {
    "dtype": "float32",
    "max_model_len": 2048,
    "enforce_eager": True,
    "max_num_seqs": 8,
    "gpu_memory_utilization": 0.05,
}
SCHEMA = {
    "type": "object",
    "properties": {"objects": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4}},
    "required": ["objects"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llama(tmp_path_factory.mktemp("vllm") / "llama")


@pytest.fixture(scope="module")
def model(folder: Path) -> VllmModel:
    return VllmModel(model=str(folder), separate_process=False, **SETTINGS)


def ask(key: str, caption: str = "a dog and a kite", schema: Any = SCHEMA, seed: int = 0, **sampling: Any) -> TextRequest:
    chat = Prompt(load_template("negbench/extract_objects"), {"caption": caption})
    return TextRequest(chat, Sampling(**{"max_tokens": 80, **sampling}), schema, key, seed)


def replies(model: VllmModel, requests: list[TextRequest]) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(requests)}


def test_answers_follow_the_schema_and_tell_what_they_cost(model: VllmModel) -> None:
    found = replies(model, [ask(str(number), seed=number, temperature=1.0) for number in range(40)])
    assert len(found) == 40
    assert {reply.finish for reply in found.values()} <= {"stop", "length"}
    for reply in found.values():
        if reply.finish == "stop":
            assert len(parse_answer(reply.result, ObjectList).objects) <= 4
            assert reply.result.startswith('{"objects": ['), "spaced as the examples of prompts are"
        assert reply.usage.prompt_tokens > 300 and reply.usage.completion_tokens > 0 and reply.usage.seconds > 0
    assert sum(reply.usage.cached_tokens for reply in found.values()) > 0.5 * sum(r.usage.prompt_tokens for r in found.values())


def test_a_choice_is_answered_with_the_bare_word(model: VllmModel) -> None:
    found = replies(model, [ask(str(seed), schema={"enum": ["yes", "no"]}, seed=seed, temperature=1.0) for seed in range(8)])
    assert {reply.result for reply in found.values()} <= {"yes", "no"}


def test_a_seed_gives_the_same_answer_alone_and_among_others(model: VllmModel) -> None:
    alone = replies(model, [ask("x", seed=7, temperature=1.0)])["x"].result
    others = [ask(str(number), seed=number, temperature=1.0) for number in range(20)]
    among = replies(model, [*others[:5], ask("x", seed=7, temperature=1.0), *others[5:]])["x"].result
    other = replies(model, [ask("x", seed=8, temperature=1.0)])["x"].result
    assert alone == among != other


def test_requests_are_taken_as_the_engine_has_room_and_replies_come_while_others_wait(model: VllmModel) -> None:
    taken = 0

    def source() -> Iterator[TextRequest]:
        nonlocal taken
        for number in range(200):
            taken = number + 1
            yield ask(str(number), schema=None, max_tokens=4 + number % 9)

    stream = model.stream(source())
    seen = {next(stream).key}
    assert taken <= 2 * SETTINGS["max_num_seqs"] + 1
    seen |= {reply.key for reply in stream}
    assert len(seen) == 200


def test_a_stream_that_is_closed_early_leaves_nothing_in_the_engine(model: VllmModel) -> None:
    stream = model.stream(ask(str(number), schema=None, max_tokens=60) for number in range(50))
    next(stream)
    stream.close()
    found = replies(model, [ask("after", max_tokens=30)])
    assert list(found) == ["after"]
    assert model._loop.engine.get_num_unfinished_requests() == 0


def test_a_worker_that_is_to_stop_does_not_wait_for_an_answer(model: VllmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_loop, "POLL_SECONDS", 0.001)
    with stopping_when(lambda: True):
        assert len(list(model.stream(ask(str(number), schema=None, max_tokens=120) for number in range(50)))) < 50
    assert list(replies(model, [ask("after", max_tokens=30)])) == ["after"]


def test_two_threads_share_one_engine(model: VllmModel) -> None:
    found: dict[str, set[str]] = {}

    def work(name: str) -> None:
        found[name] = set(replies(model, [ask(f"{name}{number}", seed=number) for number in range(25)]))

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: {f"{name}{number}" for number in range(25)} for name in "ab"}


def test_streams_with_the_same_keys_do_not_meet(model: VllmModel) -> None:
    slow = model.stream(ask(str(number), schema=None, max_tokens=120) for number in range(6))
    quick = model.stream(ask(str(number), schema=None, max_tokens=2 + number) for number in range(6))
    next(quick)
    first = next(slow)
    quick.close()
    assert {first.key, *(reply.key for reply in slow)} == {str(number) for number in range(6)}


def test_what_cannot_be_asked_is_told_and_the_rest_goes_on(model: VllmModel) -> None:
    broken = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}
    found = replies(model, [ask("long", "word " * 3000), ask("schema", schema=broken), ask("good")])
    assert (found["long"].finish, found["long"].problem) == ("unusable", "prompt too long")
    assert found["schema"].finish == "unusable" and found["schema"].detail
    assert found["good"].finish == "stop"


def test_an_answer_is_cut_at_the_limit_and_at_a_stop(model: VllmModel) -> None:
    long = replies(model, [ask("x", schema=None, max_tokens=40)])["x"]
    assert (long.finish, long.usage.completion_tokens) == ("length", 40)
    word = str(long.result)[5:8]
    stopped = replies(model, [ask("x", schema=None, max_tokens=40, stop=(word,))])["x"]
    assert stopped.finish == "stop" and stopped.result == str(long.result).split(word)[0]


def test_a_model_that_is_not_there_and_arguments_that_are_not_are_the_users_to_mend(folder: Path) -> None:
    with pytest.raises(UserError, match="no model in the folder"):
        VllmModel(model="/nowhere/at/all")
    with pytest.raises(UserError, match="no engine argument 'max_sequences'"):
        VllmModel(model=str(folder), engine={"max_sequences": 4}, separate_process=False)
    with pytest.raises(UserError, match="cannot load"):
        VllmModel(model=str(folder), separate_process=False, **{**SETTINGS, "max_model_len": 10_000_000})


def test_a_model_without_a_system_role_gets_the_instructions_in_the_first_turn(folder: Path, tmp_path: Path) -> None:
    strict = without_system_role(folder, tmp_path / "strict")
    with pytest.raises(UserError, match="set system_role: false"):
        replies(VllmModel(model=str(strict), separate_process=False, **SETTINGS), [ask("x")])
    plain = VllmModel(model=str(strict), separate_process=False, system_role=False, **SETTINGS)
    assert replies(plain, [ask("x")])["x"].finish == "stop"


def test_a_shard_through_the_worker_conserves_its_rows(model: VllmModel, folder: Path, make_run: Any) -> None:
    spec = {"kind": "vllm", "model": str(folder), "separate_process": False, **SETTINGS}
    run: RunFolder = make_run(settings=[f"extract_objects.model={json.dumps(spec)}"])
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.conserved() and manifest.rows_in == manifest.rows_out + manifest.rejected
    usage = manifest.usage
    assert usage["requests"] >= manifest.rows_in and usage["prompt_tokens"] > usage["cached_tokens"] > 0
    assert usage["finish_stop"] + usage.get("finish_length", 0) == usage["requests"]


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True) if psutil.pid_exists(pid) else []


def rows_done(run: RunFolder) -> int:
    return sum(path.read_bytes().count(b"\n") - 1 for path in run.files("extract_objects", 0).journals())


def await_progress(run: RunFolder, process: subprocess.Popen[str], more_than: int) -> None:
    deadline = time.monotonic() + 400  # a busy machine takes minutes to start an engine
    while rows_done(run) <= more_than:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_engine_and_a_killed_worker_are_replaced_and_leave_no_process_behind(
    folder: Path, make_run: Any, tmp_path: Path
) -> None:
    table = tmp_path / "many.csv"
    table.write_text("caption\n" + "".join(f"a dog and kite number {number}\n" for number in range(1000)))
    spec = json.dumps({"kind": "vllm", "model": str(folder), **SETTINGS})
    run: RunFolder = make_run("run", input=table, num_shards=1, settings=[f"extract_objects.model={spec}"])
    script = (
        "import sys; from pathlib import Path; from shardmill.launch.local import launch_local; "
        "from shardmill.store.run_folder import RunFolder; "
        "launch_local(RunFolder(Path(sys.argv[1])), 1, stop_after='extract_objects')"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script, str(run.path)], text=True)
    try:
        await_progress(run, launcher, 50)
        first = descendants(launcher.pid)
        (engine,) = [process for process in first if "EngineCore" in process.name()]
        engine.kill()
        after_engine = rows_done(run)
        await_progress(run, launcher, after_engine + 150)
        second = descendants(launcher.pid)
        (worker,) = [process for process in second if "shardmill.launch.worker_main" in process.cmdline()]
        worker.kill()
        assert launcher.wait(timeout=400) == 0
    finally:
        for process in [*descendants(launcher.pid), psutil.Process(launcher.pid)] if launcher.poll() is None else []:
            process.kill()
        launcher.wait()
    failures = [failure.message for failure in JobsFolder(run).failures("extract_objects")]
    assert len(failures) == 2
    assert "has died" in failures[0] and "its worker died (SIGKILL" in failures[1]
    made = run.manifest("extract_objects", 0)
    assert made is not None and made.conserved() and 0 < made.elsewhere < made.rows_in == 1000
    _gone, alive = psutil.wait_procs([*first, *second], timeout=20)
    assert not alive
