"""The local launcher: worker processes on this machine that take tasks until the run is complete.

There is no barrier between stages: a task starts as soon as its own shard of the stage before is there. What is finished is
never done again, so launching again is resuming.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from shardmill.launch.assignment import WorkerContext
from shardmill.launch.gpus import share_of, visible_gpus
from shardmill.launch.supervisor import End, WorkerSupervisor
from shardmill.launch.worker_process import WorkerSpec
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.plan import Plan, StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import Task, TaskBoard, board_of
from shardmill.util.errors import Stopped, UserError
from shardmill.util.progress import Progress
from shardmill.util.signals import StopFlag
from shardmill.util.words import count_of


class LaunchView:
    """Shows how a local launch goes. This one shows nothing."""

    def showing(self, board: TaskBoard) -> AbstractContextManager[None]:
        """Show the board until the block ends."""
        return nullcontext()

    def progress(self, task: Task, progress: Progress) -> None:
        """Rows of a running task are finished."""

    def ended(self, task: Task) -> None:
        """A task runs no more."""

    def refresh(self) -> None:
        """Bring what is shown up to date."""


@dataclass
class LaunchResult:
    """How a launch ended: tasks that failed, tasks skipped because of them, and how many were run."""

    failed: list[Failure] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)
    ran: int = 0


class BoardQueue:
    """The task queue of a launch that does all stages of all shards: a task board, of which nobody else takes tasks.

    A worker stays with the stages of a model on GPUs, and with those that need none, as long as there is a task of them.
    """

    retry_seconds = 0.0

    def __init__(self, run: RunFolder, board: TaskBoard, view: LaunchView, result: LaunchResult, workers: int):
        self.run, self.board, self.view, self.result, self.workers = run, board, view, result, workers
        self.finished = False
        self._loaded: dict[int, StagePlan] = {}

    def next_task(self, worker: int, last: Task | None, in_progress: Collection[Task]) -> Task | None:
        if last is None:
            self._loaded.pop(worker, None)  # another process than before
        loaded = self._loaded.get(worker)
        task = self.board.next(self._beside(loaded) if loaded is not None and loaded.resources.gpus_per_worker else ())
        self.finished = task is None
        return None if task is None else self._start(worker, task)

    def next_ahead(self, worker: int, in_progress: Collection[Task]) -> Task | None:
        """A task with the loaded model, if there is one left for each other worker too: it may be idle soon."""
        loaded = self._loaded.get(worker)
        ready = self.board.ready(self._beside(loaded), self.workers) if loaded is not None else []
        return self._start(worker, ready[0]) if len(ready) == self.workers else None

    def _start(self, worker: int, task: Task) -> Task:
        self.board.start(task)
        planned = self.run.stage(task.stage)
        if planned.role is not None:
            self._loaded[worker] = planned
        return task

    def _beside(self, loaded: StagePlan) -> list[str]:
        """The stages that need no other model than that of a stage."""
        same = (loaded.role, loaded.model)
        return [each.name for each in self.run.plan.stages if each.role is None or (each.role, each.model) == same]

    def progress(self, task: Task, progress: Progress) -> None:
        self.view.progress(task, progress)

    def ended(self, task: Task, end: End) -> None:
        self.view.ended(task)
        if end != "done":
            self.board.give_back(task)
            return
        manifest = self.run.manifest(*task)
        assert manifest is not None
        self.board.finish(task, manifest)
        self.result.ran += 1

    def failed(self, failure: Failure, quarantined: bool) -> None:
        task = Task(failure.stage, failure.shard)
        self.view.ended(task)
        if quarantined:
            self.board.fail(task)
            self.result.failed.append(failure)
        else:
            self.board.give_back(task)

    def refresh(self) -> None:
        self.view.refresh()


def launch_local(run: RunFolder, workers: int, *, view: LaunchView | None = None, stop_after: str | None = None) -> LaunchResult:
    """Run every task that is not done.

    A worker that is killed is replaced and its task continues from its journal. A task that fails leaves the others running.

    Args:
        run: The run.
        workers: Worker processes; fewer are started where there are too few GPUs.
        view: Shows progress; nothing is shown if it is not given.
        stop_after: The last stage to run; all stages if it is not given.

    Raises:
        Stopped: After SIGTERM or Ctrl-C, when all workers have flushed and left. A second signal kills them.
        UserError: If there are too few GPUs for one worker, or the run is not ingested yet.
    """
    view, result = view or LaunchView(), LaunchResult()
    board, specs = board_of(run, stop_after), worker_specs(run, workers)
    jobs, stop = JobsFolder(run), StopFlag()
    for stage in board.stages:
        jobs.forget_failures(stage)
    queue = BoardQueue(run, board, view, result, len(specs))
    with view.showing(board):
        try:
            stopped = WorkerSupervisor(run, queue, specs, WorkerContext(socket.gethostname()), stop).supervise()
        finally:
            stop.restore()
        if stopped or stop():
            raise Stopped("all workers have flushed what they had done")
    result.skipped = board.skipped()
    return result


def worker_specs(run: RunFolder, workers: int) -> list[WorkerSpec]:
    """What each worker gets: its share of the cores and GPUs, and a log for each task."""
    logs, shares = TaskLogs(run), gpu_shares(run.plan, workers)
    cores = len(os.sched_getaffinity(0)) // len(shares)
    common = {"OMP_NUM_THREADS": str(max(cores, 1)), **os.environ}
    return [
        WorkerSpec({**common, **({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})}, logs.startup, logs.log)
        for gpus in shares
    ]


def gpu_shares(plan: Plan, workers: int) -> list[tuple[str, ...]]:
    """The GPUs of each worker, as many as the stage that needs most; fewer than `workers` if there are too few GPUs.

    Raises:
        UserError: If there are too few for one worker.
    """
    each = max(stage.resources.gpus_per_worker for stage in plan.stages)
    if not each:
        return [()] * workers
    gpus = visible_gpus()
    if len(gpus) < each:
        raise UserError(
            f"a worker of this pipeline needs {count_of(each, 'GPU')} and this machine has {len(gpus)}; choose another model "
            "(--model), or launch on a cluster (--site); to see what this machine has: shardmill doctor"
        )
    return [share_of(gpus, number, each) for number in range(min(workers, len(gpus) // each))]
