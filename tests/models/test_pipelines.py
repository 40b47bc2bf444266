"""All of NegBench through every engine, with a small model that was trained for it: the same rows, whatever held the model."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from faulty_server import FaultyServer, broken, cut, fails, forward_to, half
from models.train_tiny import DATA, ROWS, write_rows
from shardmill.launch.serve import Keeper, free_port
from shardmill.launch.serve_command import serve_command
from shardmill.models.servers import Server, live_servers
from shardmill.models.text import openai_pool
from shardmill.models.text.settings import read_settings
from shardmill.models.text.vllm import VllmSettings
from shardmill.planning import NewRun, start_run
from shardmill.shards.run_folder import RunFolder
from shardmill.shards.verify import check_stage
from shardmill.stage import stage_class
from shardmill.worker import ModelPool, run_shard

GREEDY = {"sampling": {"temperature": 0.0}}
VLLM = {"model": str(DATA), "dtype": "float32", "max_model_len": 2048, "enforce_eager": True, "max_num_seqs": 16}
SPECS: dict[str, dict[str, Any]] = {
    "vllm": {"kind": "vllm", "separate_process": False, "gpu_memory_utilization": 0.05, **VLLM, **GREEDY},
    "transformers": {"kind": "transformers", "model": str(DATA), "dtype": "float32", "max_batch_size": 8, **GREEDY},
}
Start = Callable[[str, dict[str, Any]], RunFolder]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.csv")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, rows: Path) -> Start:
    """A run of the rows in one shard, with a model for all text stages."""

    def start(name: str, spec: dict[str, Any]) -> RunFolder:
        folder = tmp_path_factory.mktemp(name)
        path = folder / "model.yaml"
        path.write_text(json.dumps({"role": "text", **spec}))
        return start_run(folder / "run", NewRun(input=rows, num_shards=1, models=[str(path)]))

    return start


@pytest.fixture(scope="module")
def pools() -> dict[str, ModelPool]:
    """The loaded models of each engine; loading takes longer than the rows."""
    return {}


def finish(run: RunFolder, models: ModelPool) -> RunFolder:
    for stage in run.stages:
        run_shard(run, stage, 0, models=models)
        check_stage(run, stage)
    return run


@pytest.fixture(scope="module")
def by_vllm(start: Start, pools: dict[str, ModelPool]) -> RunFolder:
    return finish(start("vllm", SPECS["vllm"]), pools.setdefault("vllm", {}))


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which a vLLM server is announced, kept by what `shardmill serve` is."""
    folder = tmp_path_factory.mktemp("served")
    settings = read_settings(VllmSettings, VLLM)
    over = threading.Event()
    keeper = Keeper(
        command=lambda port: serve_command(settings, "127.0.0.1", port, 0, ["--gpu-memory-utilization", "0.05"]),
        model=str(DATA), folder=folder / "servers", log=folder / "log", host="127.0.0.1", environment=dict(os.environ),
        start_seconds=120, should_stop=over.is_set, say=print,
    )  # fmt: skip
    thread = threading.Thread(target=keeper)
    thread.start()
    yield folder / "servers"
    over.set()
    thread.join()


def served_by(folder: Path) -> Server:
    deadline = time.monotonic() + 120
    while not (found := live_servers(folder) if folder.is_dir() else []):
        assert time.monotonic() < deadline, "no server was announced"
        time.sleep(0.2)
    return found[0]


@pytest.fixture(scope="module")
def ignorant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`, which takes JSON schemas and ignores them."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(DATA), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    cache = tmp_path_factory.mktemp("cache")
    with open(cache / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_CACHE": str(cache)})
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait()


def contents(run: RunFolder, stages: list[str] | None = None) -> dict[str, bytes]:
    """The bytes of all parts and rejects."""
    files = [run.files(stage, 0) for stage in stages or run.stages]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for file in files for path in (file.part, file.rejects)}


def text_stages(run: RunFolder) -> list[str]:
    return [stage for stage in run.stages if stage_class(f"negbench.{stage}").role == "text"]


def rows_out(run: RunFolder, stage: str) -> int:
    manifest = run.manifest(stage, 0)
    assert manifest is not None and manifest.conserved()
    return manifest.rows_out


def test_rows_come_through_all_stages_and_the_prompts_are_paid_for_once(by_vllm: RunFolder) -> None:
    assert rows_out(by_vllm, "caption_negated") >= ROWS // 2
    assert rows_out(by_vllm, "paraphrase_mcq") >= ROWS // 2
    for stage in text_stages(by_vllm):
        usage = by_vllm.manifest(stage, 0).usage  # type: ignore[union-attr]
        assert usage["completion_tokens"] > 0 and usage["request_seconds"] > 0
        if usage["requests"] >= 20:
            assert usage["cached_tokens"] > 0.6 * usage["prompt_tokens"]
    rejected = [by_vllm.manifest(stage, 0).rejected for stage in text_stages(by_vllm)]  # type: ignore[union-attr]
    assert any(rejected), "a model that is never wrong tests no rejects"


def test_transformers_gives_the_same_rows_and_rejects(by_vllm: RunFolder, start: Start, pools: dict[str, ModelPool]) -> None:
    run = finish(start("transformers", SPECS["transformers"]), pools.setdefault("transformers", {}))
    assert contents(run) == contents(by_vllm)


def test_a_server_gives_the_same_rows_and_rejects(by_vllm: RunFolder, start: Start, announced: Path) -> None:
    served_by(announced)
    spec = {"kind": "openai", "model": str(DATA), "servers": str(announced), **GREEDY}
    run = finish(start("openai", spec), {})
    assert contents(run) == contents(by_vllm)
    usage = run.manifest("caption_negated", 0).usage  # type: ignore[union-attr]
    assert usage["prompt_tokens"] > 0 and usage["completion_tokens"] > 0


def test_a_server_that_ignores_schemas_loses_no_row(start: Start, ignorant: str, caplog: pytest.LogCaptureFixture) -> None:
    spec = {"kind": "openai", "model": str(DATA), "base_urls": [ignorant], "max_in_flight": 4, "wait_minutes": 2, **GREEDY}
    run = start("ignorant", spec)
    models: ModelPool = {}
    for stage in ("extract_objects", "propose_negatives"):
        run_shard(run, stage, 0, models=models)
        check_stage(run, stage)
    assert rows_out(run, "propose_negatives") >= 10
    assert "ignores JSON schemas" in caplog.text


def test_faults_between_worker_and_server_change_nothing(
    by_vllm: RunFolder, start: Start, announced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_pool, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(openai_pool, "LONGEST_PAUSE", 0.1)
    server = served_by(announced)
    rng = random.Random(7)
    through = forward_to(server.url, server.key())
    faults = [through, through, through, fails(429, **{"Retry-After": "0.05"}), fails(500), cut, half, broken]

    async def moody(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await rng.choice(faults)(request, body)

    proxy = FaultyServer(moody)
    spec = {"kind": "openai", "model": str(DATA), "base_urls": [proxy.url], "tries": 40, "max_in_flight": 8, **GREEDY}
    run = start("faults", spec)
    run_shard(run, "extract_objects", 0)
    proxy.end()
    assert contents(run, ["extract_objects"]) == contents(by_vllm, ["extract_objects"])


def test_a_server_that_is_killed_is_waited_for_and_no_row_is_asked_too_often(
    by_vllm: RunFolder, start: Start, announced: Path
) -> None:
    first = served_by(announced)
    spec = {"kind": "openai", "model": str(DATA), "servers": str(announced), "tries": 3, "wait_minutes": 3, **GREEDY}
    run = start("killed", spec)
    (server,) = [child for child in psutil.Process().children() if "--served-model-name" in child.cmdline()]
    os.kill(server.pid, signal.SIGKILL)
    run_shard(run, "extract_objects", 0)
    assert contents(run, ["extract_objects"]) == contents(by_vllm, ["extract_objects"])
    assert served_by(announced).url != first.url


DRIVER = """
import sys
from pathlib import Path
from shardmill.shards import journal
from shardmill.shards.run_folder import RunFolder
from shardmill.worker import run_shard

journal.FLUSH_SECONDS = 0
if __name__ == "__main__":
    run_shard(RunFolder(Path(sys.argv[1])), "extract_objects", 0)
"""


@pytest.mark.parametrize("engine", ["vllm", "transformers", "openai"])
def test_a_killed_worker_is_gone_on_from(
    by_vllm: RunFolder, start: Start, announced: Path, pools: dict[str, ModelPool], engine: str
) -> None:
    spec = {"kind": "openai", "model": str(DATA), "servers": str(announced), "max_in_flight": 1, **GREEDY}
    spec = {"vllm": {**SPECS["vllm"], "max_num_seqs": 2}, "transformers": {**SPECS["transformers"], "max_batch_size": 2}}.get(
        engine, spec
    )
    run = start(f"killed-{engine}", spec)
    run.folder("extract_objects").mkdir(exist_ok=True)
    worker = subprocess.Popen([sys.executable, "-c", DRIVER, str(run.path)])
    deadline = time.monotonic() + 120
    while sum(path.read_bytes().count(b"\n") - 1 for path in run.files("extract_objects", 0).journals()) < 3:
        assert worker.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    worker.kill()
    worker.wait()
    assert run.manifest("extract_objects", 0) is None
    models: ModelPool = pools.get(engine, {})
    model = next((model for name, model in models.items() if name.startswith("text")), None)
    if model is not None:  # the same weights, loaded already
        models = {f"text {sorted(run.stage('extract_objects').model.items())}": model}
    made = run_shard(run, "extract_objects", 0, models=models)
    assert made.elsewhere >= 3 and made.conserved()
    assert contents(run, ["extract_objects"]) == contents(by_vllm, ["extract_objects"])
