"""What an element's tasks do at the signal before the time limit: the job is queued again once, and only if something is left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.launch import slurm
from shardmill.launch.assignment import Assignment, JobSignals, WorkerContext
from shardmill.launch.element import Element
from shardmill.launch.supervisor import WorkerSupervisor
from shardmill.store.run_folder import RunFolder
from shardmill.util.exits import EXIT_RESUMABLE

STAGE = "extract_objects"


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that were queued again. The signals' handlers are put back at the end of the test."""
    jobs: list[str] = []
    monkeypatch.setattr(slurm, "requeue", lambda job, exclude: jobs.append(job))
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return jobs


def at_the_signal(run: RunFolder, logs: Path, task: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a SLURM task of the element of shards 0 and 1, after the signal before the time limit."""
    signals = JobSignals()
    signals.received.add(signal.SIGUSR2)
    monkeypatch.setattr(WorkerSupervisor, "supervise", lambda supervisor: True)
    work = Assignment(str(run.path), (STAGE,), (0, 1), str(logs))
    return Element(work, WorkerContext("n1", "7_0", number=task, workers=2), signals).run_shards()


def test_a_job_with_nothing_left_has_succeeded_so_that_the_next_one_starts(
    make_run: Callable[..., RunFolder], tmp_path: Path, requeued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    for shard in (0, 1):
        run_shard(run, STAGE, shard)
    assert [at_the_signal(run, tmp_path, task, monkeypatch) for task in (0, 1)] == [0, 0]
    assert requeued == []


def test_the_first_task_alone_queues_its_job_again_and_no_other_makes_it_fail(
    make_run: Callable[..., RunFolder], tmp_path: Path, requeued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    run_shard(run, STAGE, 0)
    assert [at_the_signal(run, tmp_path, task, monkeypatch) for task in (1, 0)] == [0, EXIT_RESUMABLE]
    assert requeued == ["7_0"]
