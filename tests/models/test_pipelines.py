"""All of NegBench through every engine, with a small model that was trained for it: the same rows, whatever held the model."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from faulty_server import FaultyServer, broken, cut, fails, forward_to, half
from models.engines import IN_PROCESS, START_SECONDS, behind_servers, served_by, transformers_server, vllm_server
from models.train_tiny import ROWS, write_rows
from shardmill.core.planning import NewRun, start_run
from shardmill.core.registry import stage_class
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.models.servers import Announcement, Server
from shardmill.models.text import openai_endpoints
from shardmill.negbench.build import build
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage

Start = Callable[..., RunFolder]
Pools = dict[str, ModelPool]
DISTURBED = "caption_negated"
"""The stage with the most requests, and with rows that are rejected."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A run of some rows in one shard, with one model for all text stages."""

    def start(name: str, spec: dict[str, Any], rows: int = ROWS) -> RunFolder:
        folder = tmp_path_factory.mktemp(name)
        path = folder / "model.yaml"
        path.write_text(json.dumps({"role": "text", **spec}))
        source = write_rows(folder / "rows.csv", rows)
        return start_run(folder / "run", NewRun(input=source, num_shards=1, models=[str(path)]))

    return start


@pytest.fixture(scope="module")
def pools() -> Pools:
    """The loaded model of each engine; loading takes longer than the rows."""
    return {}


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which a vLLM server is announced."""
    with vllm_server(tmp_path_factory.mktemp("served")) as folder:
        yield folder


@pytest.fixture(scope="module")
def by_vllm(start: Start, pools: Pools) -> RunFolder:
    return do(start("vllm", IN_PROCESS["vllm"]), pools.setdefault("vllm", {}))


def is_text(stage: str) -> bool:
    return stage_class("negbench", stage).role == "text"


def do(run: RunFolder, models: ModelPool, until: str | None = None) -> RunFolder:
    """The stages of a run that are not done yet, up to but without `until`. No row may get lost in any of them."""
    for stage in run.stages:
        if stage == until:
            break
        run_shard(run, stage, 0, models=models if is_text(stage) else {})  # another role's model would put the engine out
        check = check_stage(run, stage)
        assert not check.problems and not check.missing
    return run


def contents(run: RunFolder, stages: list[str] | None = None) -> dict[str, bytes]:
    """The bytes of all parts and rejects."""
    files = [run.files(stage, 0) for stage in stages or run.stages]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for file in files for path in (file.part, file.rejects)}


def rows_out(run: RunFolder, stage: str) -> int:
    manifest = run.manifest(stage, 0)
    assert manifest is not None
    return manifest.rows_out


def usage(run: RunFolder, stage: str) -> dict[str, float]:
    manifest = run.manifest(stage, 0)
    assert manifest is not None
    return manifest.usage


def test_most_rows_come_through_all_stages_to_the_datasets_and_some_are_rejected(by_vllm: RunFolder) -> None:
    built = {path.name: count for path, count in build(by_vllm).files.items()}
    assert (built["negcap.csv"] or 0) >= ROWS // 2 and (built["negmcq.csv"] or 0) >= ROWS // 2
    manifests = [by_vllm.manifest(stage, 0) for stage in by_vllm.stages if is_text(stage)]
    assert any(manifest and manifest.rejected for manifest in manifests), "a model that is never wrong tests no rejects"


def test_what_prompts_share_is_paid_for_once_and_counted(by_vllm: RunFolder) -> None:
    for stage in filter(is_text, by_vllm.stages):
        paid = usage(by_vllm, stage)
        assert paid["completion_tokens"] > 0 and paid["request_seconds"] > 0
        assert paid["prompt_tokens"] > paid["cached_tokens"] > 0
        if paid["requests"] >= 20:
            assert paid["cached_tokens"] > 0.5 * paid["prompt_tokens"]


def test_transformers_gives_the_same_rows_and_rejects(by_vllm: RunFolder, start: Start, pools: Pools) -> None:
    run = do(start("transformers", IN_PROCESS["transformers"]), pools.setdefault("transformers", {}))
    assert contents(run) == contents(by_vllm)
    for stage in filter(is_text, run.stages):
        assert usage(run, stage)["prompt_tokens"] == usage(by_vllm, stage)["prompt_tokens"]


def test_a_server_gives_the_same_rows_and_rejects(by_vllm: RunFolder, start: Start, announced: Path) -> None:
    served_by(announced)
    run = do(start("openai", behind_servers(servers=str(announced))), {})
    assert contents(run) == contents(by_vllm)
    for stage in filter(is_text, run.stages):
        assert usage(run, stage)["prompt_tokens"] == usage(by_vllm, stage)["prompt_tokens"]


def test_a_server_that_ignores_schemas_brings_rows_through_all_stages(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with transformers_server(tmp_path) as url:
        run = do(start("ignorant", behind_servers(base_urls=[url], max_in_flight=2), rows=10), {})
    assert "ignores JSON schemas" in caplog.text
    assert rows_out(run, "caption_negated") >= 5
    assert rows_out(run, "paraphrase_mcq") >= 3


def test_faults_between_worker_and_server_change_nothing(
    by_vllm: RunFolder, start: Start, announced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_endpoints, "MIN_BACKOFF", 0.02)
    monkeypatch.setattr(openai_endpoints, "MAX_BACKOFF", 0.1)
    server = served_by(announced)
    rng = random.Random(7)
    through = forward_to(server.url, server.key)
    faults = [through, through, through, fails(429, **{"Retry-After": "0.05"}), fails(500), cut, half, broken]
    seen = set()

    async def moody(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        chosen = rng.choice(faults)
        seen.add(faults.index(chosen))
        return await chosen(request, body)

    proxy = FaultyServer(moody)
    # Announced, as vLLM's own servers are: only to those it is said where the blanks of an answer belong.
    Announcement(tmp_path / "servers", Server(url=proxy.url, model=server.model, node="n1", pid=os.getpid())).beat()
    run = start("faults", behind_servers(servers=str(tmp_path / "servers"), tries=40))
    run_shard(run, "extract_objects", 0)
    proxy.end()
    assert seen == {0, 3, 4, 5, 6, 7}
    assert contents(run, ["extract_objects"]) == contents(by_vllm, ["extract_objects"])


def test_a_server_that_is_killed_is_waited_for_and_no_row_is_asked_too_often(
    by_vllm: RunFolder, start: Start, announced: Path
) -> None:
    first = served_by(announced)
    run = start("killed", behind_servers(servers=str(announced), tries=3))
    (server,) = [child for child in psutil.Process().children() if "--served-model-name" in child.cmdline()]
    os.kill(server.pid, signal.SIGKILL)
    run_shard(run, "extract_objects", 0)
    assert contents(run, ["extract_objects"]) == contents(by_vllm, ["extract_objects"])
    assert served_by(announced).url != first.url


WORKER = """
from shardmill.cli.main import main
from shardmill.store import journal

journal.FLUSH_SECONDS = 0
main()
"""


@pytest.mark.parametrize("engine", ["vllm", "transformers", "openai"])
def test_a_killed_worker_is_gone_on_from_to_the_same_rows(
    by_vllm: RunFolder, start: Start, announced: Path, pools: Pools, engine: str
) -> None:
    spec = {**IN_PROCESS, "openai": behind_servers(servers=str(announced))}[engine]
    models = pools.setdefault(engine, {})
    run = do(start(f"killed-{engine}", spec), models, until=DISTURBED)
    files = run.files(DISTURBED, 0)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, "run", str(run.path), DISTURBED])
    deadline = time.monotonic() + START_SECONDS
    try:
        while sum(path.read_bytes().count(b"\n") - 1 for path in files.journals()) < 3:
            assert worker.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        worker.kill()
        worker.wait()
    assert run.manifest(DISTURBED, 0) is None
    made = run_shard(run, DISTURBED, 0, models=models)
    assert 3 <= made.elsewhere < made.rows_in
    assert contents(do(run, models)) == contents(by_vllm)
