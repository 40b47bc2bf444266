"""Which task a local worker gets next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from shardmill.launch.local import BoardQueue, LaunchResult, LaunchView
from shardmill.launch.supervisor import WorkerSupervisor
from shardmill.store.manifest import Manifest
from shardmill.store.plan import Resources
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, TaskBoard

FIRST, SECOND, TABLE, THIRD = "extract_objects", "propose_negatives", "draw_questions", "filter_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    """Its models are on GPUs: two stages of one, one without a model, one of another."""
    made = make_run()
    for stage in made.plan.stages:
        if stage.role is not None:
            stage.resources = Resources(gpus_per_worker=1)
    return made


def queue(run: RunFolder, shards: int, workers: int) -> BoardQueue:
    board = TaskBoard({FIRST: INGEST, SECOND: FIRST, TABLE: SECOND, THIRD: TABLE}, shards, {})
    return BoardQueue(run, board, LaunchView(), LaunchResult(), workers)


def finish(tasks: BoardQueue, task: Task) -> None:
    tasks.board.finish(task, Manifest.model_construct(rows_out=1, shard=task.shard))


def test_a_worker_changes_its_model_only_when_nothing_is_left_for_it(run: RunFolder) -> None:
    tasks, last, done = queue(run, 2, 1), None, []
    while (task := tasks.next_task(0, last, [])) is not None:
        finish(tasks, task)
        done.append(task)
        last = task
    models = [task.stage for task in done if task.stage != TABLE]
    assert models == [FIRST, SECOND, FIRST, SECOND, THIRD, THIRD]
    assert tasks.finished


def test_a_model_that_runs_dry_gets_the_next_task_unless_another_worker_needs_it(run: RunFolder) -> None:
    tasks = queue(run, 3, 2)
    first = tasks.next_task(0, None, [])
    assert first == Task(FIRST, 0)
    assert tasks.next_ahead(0, [first]) == Task(FIRST, 1)
    assert tasks.next_ahead(0, [first]) is None  # the last one is for the other worker
    finish(tasks, first)
    assert tasks.next_ahead(0, [Task(FIRST, 1)]) == Task(SECOND, 0)
    alone = queue(run, 2, 1)
    assert alone.next_task(0, None, []) == Task(FIRST, 0)
    assert alone.next_ahead(0, [Task(FIRST, 0)]) == Task(FIRST, 1)
    assert alone.next_ahead(0, [Task(FIRST, 0)]) is None


@dataclass
class Worker:
    """A worker process whose model has all requests of its first task."""

    tasks: dict[Task, int] = field(default_factory=lambda: {Task(FIRST, 0): 0})
    asked_all: set[Task] = field(default_factory=lambda: {Task(FIRST, 0)})
    leaving: bool = False

    def take(self, task: Task) -> None:
        self.tasks[task] = 0


def test_a_model_is_kept_busy_after_a_task_that_does_not_ask_it(run: RunFolder) -> None:
    supervisor = WorkerSupervisor.__new__(WorkerSupervisor)
    supervisor.queue, supervisor._stopping, supervisor._spent, supervisor._retry_at = queue(run, 3, 1), False, None, 0.0
    supervisor.queue.next_task(0, None, [])
    worker = Worker()
    supervisor.workers = {0: worker}  # type: ignore[dict-item]
    supervisor._look_ahead(0)
    assert list(worker.tasks) == [Task(FIRST, 0), Task(FIRST, 1)]
    supervisor.queue.ended = lambda task, end: finish(supervisor.queue, task)  # type: ignore[method-assign]
    supervisor._end_task(0, Task(FIRST, 1), "done", "")
    assert list(worker.tasks) == [Task(FIRST, 0), Task(SECOND, 1)]
