"""How far a run is: from its files, from SLURM, and what to do next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from shardmill.launch.jobs import Allocation, ArrayRecord, Failure, HeldNode, JobsFolder, Submission
from shardmill.report.status import exit_code, read_status
from shardmill.report.status_view import render_status, watch
from shardmill.shards.claims import Claims, this_process
from shardmill.shards.run_folder import RunFolder
from shardmill.worker import run_shard

STAGE = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    return make_run()


def of(run: RunFolder, stage: str = STAGE) -> dict[str, int]:
    found = next(each for each in read_status(run).stages if each.stage == stage)
    return {what: count for what in ("done", "running", "queued", "failed", "waiting") if (count := getattr(found, what))}


def finish(run: RunFolder) -> None:
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)


def test_shards_are_done_failed_running_or_waiting(run: RunFolder) -> None:
    run_shard(run, STAGE, 0)
    JobsFolder(run).note_failure(Failure(stage=STAGE, shard=1, kind="refused", message="no such folder", node="here"))
    with Claims(run.files(STAGE, 2), this_process("a")) as claims:
        claims.take(0)
        assert of(run) == {"done": 1, "failed": 1, "running": 1, "waiting": 1}
        assert exit_code(read_status(run)) == 3
    status = read_status(run)
    assert exit_code(status) == 1
    assert "shardmill failures" in status.next and "shardmill retry" in status.next
    assert "no such folder" in text_of(run)


def test_a_finished_run_says_so(run: RunFolder) -> None:
    finish(run)
    status = read_status(run)
    assert status.finished and exit_code(status) == 0
    assert "shardmill build" in status.next
    assert any("rejected" in line for line in status.closing)
    assert watch(run, 0.1).finished


def test_gpu_hours_are_those_of_the_nodes_held_and_goodput_is_accepted_rows_for_them(run: RunFolder) -> None:
    finish(run)
    jobs = JobsFolder(run)
    begun = time.time() - 1800
    with HeldNode(jobs, Allocation(stage=STAGE, job="7_0", node="n1", gpus=8, cpus=8, started=begun)) as held:
        held.outcome = "done"
    status = read_status(run)
    assert status.gpu_hours == pytest.approx(4, abs=0.1)
    accepted = sum(stage.rows_out for stage in status.stages if stage.stage in run.leaves())
    assert status.goodput == pytest.approx(accepted / status.gpu_hours)
    assert "goodput" in text_of(run)


def test_slow_shards_are_told_against_the_median(run: RunFolder) -> None:
    finish(run)
    manifest = run.files(STAGE, 3).manifest
    manifest.write_text(manifest.read_text().replace('"seconds": ', '"seconds": 99'))
    slowest = next(each for each in read_status(run).stages if each.stage == STAGE).slowest
    assert slowest[0].shard == 3
    assert slowest[0].times_median > 2
    assert "extract_objects: slowest shards" in text_of(run)


def submitted(run: RunFolder) -> None:
    array = ArrayRecord(job="7", stage=STAGE, elements=[[0, 1], [2, 3]], workers=2, gpus=2, cpus=2, minutes=60)
    JobsFolder(run).add_submission(Submission(site="mine", arrays=[array], finish="8"))


def answers(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], code: int = 0) -> None:
    """SLURM's commands, of which squeue prints these lines, and no accounting."""
    folder.mkdir(exist_ok=True)
    for name in ("sbatch", "scontrol", "scancel"):
        command(folder / name, "exit 0")
    text = "".join(f"echo '{line}'\n" for line in lines)
    command(folder / "squeue", f"{text}echo 'Unable to contact the controller' >&2\nexit {code}")
    command(folder / "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def command(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_what_slurm_says_is_merged_in(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(run)
    run_shard(run, STAGE, 0)
    lines = ["7_0|RUNNING|n1|None", "7_1|PENDING||JobArrayTaskLimit", "8|PENDING||Dependency", "9_0|RUNNING|n2|None"]
    answers(tmp_path / "bin", monkeypatch, lines)
    assert of(run) == {"done": 1, "queued": 3}
    status = read_status(run)
    assert status.live
    assert status.cluster["elements_running"] == 1
    assert list(status.cluster["waiting"]) == ["wait for their turn (limit of nodes at once)"]
    assert status.cluster["build"] == "pending"


def test_jobs_that_ended_without_finishing_leave_their_shards_to_be_launched_again(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(run)
    answers(tmp_path / "bin", monkeypatch, ["7_0|TIMEOUT|n1|None", "7_1|NODE_FAIL|n1|None"])
    assert of(run) == {"waiting": 4}
    status = read_status(run)
    assert not status.live
    assert status.next.endswith("--site mine")


def test_when_slurm_is_silent_the_files_tell(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(run)
    run_shard(run, STAGE, 0)
    answers(tmp_path / "bin", monkeypatch, [], code=1)
    assert of(run) == {"done": 1, "waiting": 3}
    assert "Unable to contact the controller" in text_of(run)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "no SLURM commands" in read_status(run).cluster["silent"]


def text_of(run: RunFolder) -> str:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=250, record=True, file=nowhere)
        console.print(render_status(read_status(run)))
        return console.export_text()
