"""The local launcher with real processes: killed workers, stubborn shards, resuming, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.launch.local import launch_local
from shardmill.monitor.status import read_status
from shardmill.negbench.build import build
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, TaskBoard
from shardmill.util.resources import REPOSITORY

UNVERIFIED = "filter_objects.unverified=keep"


def new_run(tmp_path: Path, name: str = "run", rows: int = 120, shards: int = 4, **options: object) -> RunFolder:
    source = tmp_path / "captions.csv"
    if not source.exists():
        write_captions(source, (CAPTIONS * rows)[:rows])
    return start_run(tmp_path / name, NewRun(input=source, num_shards=shards, settings=[UNVERIFIED], **options))  # type: ignore[arg-type]


def parts(run: RunFolder) -> dict[str, bytes]:
    return {
        f"{stage}/{path.name}": path.read_bytes()
        for stage in [INGEST, *run.stages]
        for path in sorted(run.folder(stage).iterdir())
        if path.suffix == ".csv"
    }


def launch_process(run: RunFolder, workers: int = 2) -> subprocess.Popen:
    command = [sys.executable, "-m", "shardmill", "launch", "negbench", "--run", str(run.path), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def workers_of(run: RunFolder) -> list[int]:
    """The process ids of the worker processes on a run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"shardmill.launch.worker_main" in words and str(run.path).encode() in words:
                found.append(int(entry.name))
    return found


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_launch_finishes_everything_and_the_next_one_does_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    result = launch_local(run, 2)
    assert result.failed == [] and result.ran == 4 * len(run.stages)
    assert all(run.is_complete(stage, shard) for stage in run.stages for shard in range(4))
    assert launch_local(run, 2).ran == 0
    assert workers_of(run) == []


def test_one_worker_and_two_make_the_same_parts(tmp_path: Path) -> None:
    one, two = new_run(tmp_path, "one"), new_run(tmp_path, "two")
    launch_local(one, 1)
    launch_local(two, 2)
    assert parts(one) == parts(two)


def test_killed_workers_are_replaced_and_lose_nothing(tmp_path: Path) -> None:
    calm, run = new_run(tmp_path, "calm", rows=1_500), new_run(tmp_path, "killed", rows=1_500)
    launch_local(calm, 2)
    process = launch_process(run)
    killed: set[int] = set()
    while process.poll() is None:
        fresh = [pid for pid in workers_of(run) if pid not in killed]
        if fresh and len(killed) < 3:
            time.sleep(1.0)
            os.kill(fresh[0], signal.SIGKILL)
            killed.add(fresh[0])
        time.sleep(0.05)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert len(killed) == 3
    assert parts(run) == parts(calm)


def test_a_killed_launcher_leaves_no_workers_and_is_gone_on_with(tmp_path: Path) -> None:
    calm, run = new_run(tmp_path, "calm", rows=1_500), new_run(tmp_path, "killed", rows=1_500)
    launch_local(calm, 2)
    process = launch_process(run)
    wait_until(lambda: run.is_complete("extract_objects", 0))
    process.kill()
    process.communicate()
    wait_until(lambda: workers_of(run) == [])
    launch_local(run, 2)
    assert parts(run) == parts(calm)


def test_a_stopped_launcher_says_how_to_go_on(tmp_path: Path) -> None:
    run = new_run(tmp_path, rows=1_500)
    process = launch_process(run)
    wait_until(lambda: run.is_complete("extract_objects", 0))
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 75, output
    assert "Run the same command again" in output
    assert workers_of(run) == []


def test_a_shard_that_fails_holds_back_only_what_learns_from_it(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    ingested = run.files(INGEST, 2).part
    whole = ingested.read_bytes()
    ingested.write_bytes(whole[:-10])
    result = launch_local(run, 2)
    assert [(failure.stage, failure.shard) for failure in result.failed] == [("extract_objects", 2)]
    assert "does not match its manifest" in result.failed[0].message
    assert {task.shard for task in result.skipped if task.stage == "propose_negatives"} == {2}
    assert {task.shard for task in result.skipped if task.stage == "draw_questions"} == {0, 1, 2, 3}
    assert all(run.is_complete(stage, shard) for stage in ("extract_objects", "propose_negatives") for shard in (0, 1, 3))
    failed = next(stage for stage in read_status(run).stages if stage.stage == "extract_objects")
    assert (failed.done, failed.failed) == (3, 1)
    ingested.write_bytes(whole)
    assert launch_local(run, 2).failed == []
    assert next(stage for stage in read_status(run).stages if stage.stage == "extract_objects").failed == 0


def test_each_task_has_a_log(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    launch_local(run, 2)
    folder = next(path for path in (REPOSITORY / "logs").glob(f"{run.path.name}-*") if (path / "create_mcq-00003.log").exists())
    assert "create_mcq shard 3" in (folder / "create_mcq-00003.log").read_text()


@pytest.mark.parametrize("shards", [3, 10])
def test_target_rows_gives_the_same_rows_for_any_number_of_shards(tmp_path: Path, shards: int) -> None:
    reference = new_run(tmp_path, "all", rows=300, shards=1)
    launch_local(reference, 1)
    build(reference)
    wanted = pl.read_csv(reference.path / "datasets" / "negcap.csv").head(20)
    run = new_run(tmp_path, f"target-{shards}", rows=300, shards=shards, target_rows=20)
    launch_local(run, 2)
    build(run)
    assert pl.read_csv(run.path / "datasets" / "negcap.csv").equals(wanted)
    if shards == 10:
        assert not all(run.is_complete("paraphrase_mcq", shard) for shard in range(shards))


def manifest(rows: int) -> Manifest:
    return Manifest.model_construct(rows_out=rows)


def test_no_stage_waits_for_another_shard() -> None:
    board = TaskBoard({"a": INGEST, "b": "a", "c": "b"}, 3, {})
    assert board.next() == Task("a", 0)
    board.start(Task("a", 0))
    assert board.next() == Task("a", 1)
    board.finish(Task("a", 0), manifest(5))
    assert board.next() == Task("b", 0)


def test_shards_beyond_the_target_are_not_started() -> None:
    board = TaskBoard({"a": INGEST, "b": "a"}, 4, {Task("a", 0): manifest(9), Task("b", 0): manifest(9)}, target=8)
    assert board.needed == 1
    assert board.next() is None


def test_a_failed_task_blocks_what_reads_from_it() -> None:
    board = TaskBoard({"a": INGEST, "b": "a"}, 2, {})
    board.start(Task("a", 0))
    board.fail(Task("a", 0))
    assert board.next() == Task("a", 1)
    assert board.skipped() == [Task("b", 0)]


def test_a_board_of_many_shards_is_not_looked_through_again_for_each_task() -> None:
    looked = 0

    class Done(dict[Task, Manifest]):
        def __contains__(self, task: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(task)

    board = TaskBoard({"a": INGEST, "b": "a", "c": "a"}, 500, {})
    board.done = Done()
    done = []
    while (task := board.next()) is not None:
        board.start(task)
        if task == Task("b", 7):
            board.fail(task)
        else:
            board.finish(task, manifest(1))
        done.append(task)
    assert len(done) == len(set(done)) == 3 * 500
    assert looked < 20 * len(done)


def test_a_board_that_prefers_a_stage_comes_back_to_the_shards_before() -> None:
    board = TaskBoard({"a": INGEST, "b": "a"}, 3, {})
    for shard in range(3):
        assert board.next(prefer=["a"]) == Task("a", shard)
        board.start(Task("a", shard))
        board.finish(Task("a", shard), manifest(1))
    assert board.next(prefer=["a"]) == Task("b", 0)
    board.start(Task("b", 0))
    board.give_back(Task("b", 0))
    assert board.next() == Task("b", 0)
