"""`shardmill logs`: the right file, and of a file that many shards share the right part."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.core.shard_runner import run_shard
from shardmill.monitor.log_files import excerpt, last_lines, latest_text, logs_of
from shardmill.store.jobs import ArrayRecord, Failure, JobsFolder, Submission
from shardmill.store.leases import Leases, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import Task
from shardmill.util.errors import UserError
from shardmill.util.number_ranges import ranges_text
from shardmill.util.plain_text import plain

STAGE = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> Iterator[RunFolder]:
    made = make_run()
    yield made
    shutil.rmtree(TaskLogs(made).folder, ignore_errors=True)


def header(what: str, second: int = 0) -> str:
    return f"=== 2026-01-02T03:04:{second:02}+00:00 {what} on n1, process 12\n"


def part(shard: int, *lines: str) -> str:
    return header(f"{STAGE} shard {shard}") + "".join(f"{line}\n" for line in lines)


def write(path: Path, text: str, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def submit(run: RunFolder, *elements: list[int], stages: Sequence[str] = (STAGE,)) -> None:
    array = ArrayRecord(job="7", stages=list(stages), elements=list(elements), workers=2, gpus=0, cpus=2, minutes=5)
    JobsFolder(run).add_submission(Submission(site="mine", arrays=[array]))


def test_of_a_shared_log_only_the_parts_of_the_shard_are_taken(tmp_path: Path) -> None:
    slot = header(f"slot 0 of 2 for {STAGE}, node n1")
    ending = part(1, "=== extract_objects shard 1: its worker died") + slot + "began again\n"
    log = write(tmp_path / "x.log", slot + part(1, "one") + part(11, "eleven") + ending)
    assert excerpt(log, STAGE, 1) == part(1, "one") + part(1, "=== extract_objects shard 1: its worker died")
    assert excerpt(log, STAGE, 11) == part(11, "eleven")
    assert excerpt(log, STAGE, 2) == ""
    assert excerpt(log, "other", 1) == ""


def test_last_lines_are_of_the_shard_or_of_a_worker_that_died_before_it_said_so(tmp_path: Path) -> None:
    log = write(tmp_path / "x.log", part(1, *map(str, range(100)), "", "\x1b[31mred\x1b[0m") + part(2, "two"))
    assert last_lines(log, STAGE, 1, 3) == ["98", "99", "red"]
    assert last_lines(log, STAGE, 3, 1) == ["two"]
    assert last_lines(tmp_path / "gone.log", STAGE, 1, 3) == []


def test_a_local_shard_has_its_own_log(run: RunFolder) -> None:
    log = write(TaskLogs(run).log(Task(STAGE, 1)), part(1, "one"))
    write(TaskLogs(run).log(Task(STAGE, 2)), part(2, "two"), age=-10)
    assert logs_of(run, STAGE, 1) == [log]
    assert latest_text(run, STAGE, 1).endswith("one")
    assert [path.name for path in logs_of(run, STAGE)] == [f"{STAGE}-00001.log", f"{STAGE}-00002.log"]
    assert latest_text(run, STAGE, None, 1) == "two"


def test_manifest_failures_and_claims_say_where_a_log_is_and_the_newest_is_last(run: RunFolder, tmp_path: Path) -> None:
    ages = {"claim": 5, "failure": 50, "manifest": 500}
    logs = [write(tmp_path / f"{name}.log", part(0, name), age) for name, age in ages.items()]
    jobs = JobsFolder(run)
    jobs.note_failure(Failure(stage=STAGE, shard=0, kind="died", message="gone", node="n1", log=str(logs[1])))
    jobs.note_failure(Failure(stage=STAGE, shard=0, kind="died", message="gone", node="n1", log=str(tmp_path / "removed.log")))
    run_shard(run, STAGE, 0)
    path = run.files(STAGE, 0).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), "job": {"SHARDMILL_LOG": str(logs[2])}}))
    with Leases(run.files(STAGE, 0), this_process("1700000000000-n1-1-abcdef", log=str(logs[0]))) as claims:
        claims.take(0)
        assert logs_of(run, STAGE, 0) == logs[::-1]
        assert latest_text(run, STAGE, 0).endswith("claim")


def test_slots_that_left_no_record_are_found_by_what_their_logs_say(run: RunFolder) -> None:
    submit(run, [0, 1], [2, 3])
    folder = TaskLogs(run).folder
    write(folder / f"{STAGE}-7_0-0.log", part(0, "zero"))
    mine = write(folder / f"{STAGE}-7_0-1.log", part(0, "zero") + part(1, "one"))
    write(folder / f"{STAGE}-7_1-0.log", part(2, "not for shard 1"))
    assert logs_of(run, STAGE, 1) == [mine]
    assert latest_text(run, STAGE, 1) == part(1, "one").rstrip("\n")


@pytest.mark.parametrize("submitted", [True, False])
def test_the_log_of_a_worker_of_several_stages_is_found_for_each_of_them(run: RunFolder, submitted: bool) -> None:
    if submitted:
        submit(run, [0, 1], stages=(STAGE, "propose_negatives"))
    name = f"{STAGE}-7_0-0.log" if not submitted else f"{STAGE}-7-0.log"
    log = write(TaskLogs(run).folder / name, part(1, "one") + header("propose_negatives shard 1") + "two\n")
    assert logs_of(run, "propose_negatives", 1) == logs_of(run, "propose_negatives") == [log]
    assert latest_text(run, "propose_negatives", 1).endswith("two")
    with pytest.raises(UserError, match="no log"):
        logs_of(run, "filter_objects")


def test_slots_of_plain_jobs_and_of_nodes_by_number_are_found(run: RunFolder) -> None:
    log = write(TaskLogs(run).folder / f"{STAGE}-node0-1.log", part(3, "three"))
    assert logs_of(run, STAGE, 3) == [log]


def test_without_a_log_it_says_why(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="shard 1 has no log yet: it was never started"):
        logs_of(run, STAGE, 1)
    with pytest.raises(UserError, match="extract_objects has no log: it was not started yet"):
        logs_of(run, STAGE)
    with pytest.raises(UserError, match="no shard 9"):
        logs_of(run, STAGE, 9)
    submit(run, [0, 1], [2, 3])
    slurm = ScriptedSlurm(tmp_path / "bin", monkeypatch)
    slurm.squeue("7_0|PENDING||Resources", "7_1|RUNNING|n2|None")
    with pytest.raises(UserError, match="shard 1 has no log yet: it is queued as job 7_0, waiting for a free node"):
        latest_text(run, STAGE, 1)
    with pytest.raises(UserError, match="its job 7_1 runs on n2 and has not started it"):
        latest_text(run, STAGE, 3)
    slurm.squeue("7_0|CANCELLED||None")
    with pytest.raises(UserError, match="its job 7_0 was cancelled before it started it"):
        latest_text(run, STAGE, 1)
    printed = TaskLogs(run).folder / "slurm" / "7_0_0_log.out"
    printed.parent.mkdir(parents=True)
    printed.write_text("a banner\nshardmill: the image mill.sif was not found on n2\n")
    with pytest.raises(UserError, match=r'before it started it \("shardmill: the image mill.sif was not found on n2"\); see'):
        latest_text(run, STAGE, 1)
    slurm.down()
    with pytest.raises(UserError, match="it was submitted as job 7_0, which has not started it"):
        latest_text(run, STAGE, 1)
    run_shard(run, STAGE, 1)
    with pytest.raises(UserError, match="shard 1 is finished and has no log"):
        latest_text(run, STAGE, 1)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("10 %\r20 %\r\n", "20 %\n"),
        ("a\tb\nc\x07\x08\x9b", "a\tb\nc"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\x1b", ""),
    ],
)
def test_text_of_a_log_steers_no_terminal(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_numbers_are_told_as_ranges() -> None:
    assert [ranges_text(each) for each in ([], [4], [9, 3, 5, 6, 7, 7], [1, 2])] == ["", "4", "3,5-7,9", "1-2"]
