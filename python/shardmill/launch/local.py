"""The local launcher: worker processes on this machine that take tasks until the run is complete.

There is no barrier between stages: a task starts as soon as its own shard of the stage before is there. What is finished is
never done again, so launching again is resuming.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from shardmill.launch.gpus import share_of, visible_gpus
from shardmill.launch.worker_process import Worker, how_it_died, journal_bytes
from shardmill.monitor.progress import LiveView
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import Task, TaskBoard, board_of
from shardmill.util.errors import Stopped, UserError
from shardmill.util.progress import Progress
from shardmill.util.signals import StopFlag

POLL_SECONDS = 0.25


@dataclass
class LaunchResult:
    """How a launch ended: tasks that failed, tasks skipped because of them, and how many were run."""

    failed: list[Failure] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)
    ran: int = 0


def launch_local(run: RunFolder, workers: int, *, quiet: bool = False, stop_after: str | None = None) -> LaunchResult:
    """Run every task that is not done, on `workers` processes; the stages up to `stop_after` only if one is named.

    A worker that is killed is replaced and its task goes on from its journal. A task that fails leaves the others running.
    Raises Stopped after SIGTERM or Ctrl-C, when all workers have flushed and left; a second signal kills them.
    """
    launcher = _Launcher(run, workers, board_of(run, stop_after), LiveView(run, quiet=quiet))
    return launcher.run_all()


class _Launcher:
    def __init__(self, run: RunFolder, workers: int, board: TaskBoard, view: LiveView):
        self.run, self.board, self.view = run, board, view
        self.gpus = gpus_of_slots(run, workers)
        self.wanted = len(self.gpus)
        self.jobs = JobsFolder(run)
        self.logs = TaskLogs(run)
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, Worker] = {}
        self.slots: dict[int, int] = {}
        self.grown: dict[Task, int] = {}
        self.dying: dict[int, str] = {}
        self.result = LaunchResult()

    def run_all(self) -> LaunchResult:
        stop = StopFlag()
        for stage in self.board.stages:
            self.jobs.forget_failures(stage)
        with self.view.showing(self.board):
            try:
                while self._feed():
                    self._listen()
                    if stop():
                        self._stop_all()
            finally:
                self._close_all()
        self.result.skipped = self.board.skipped()
        return self.result

    def _feed(self) -> bool:
        """Give ready tasks to idle workers, starting workers as needed; False when nothing is left to wait for."""
        while len(self.board.running) < self.wanted:
            idle = next((worker for worker in self.workers.values() if worker.task is None), None)
            task = self.board.next(self._with_the_model_of(idle))
            if task is None:
                break
            self.board.start(task)
            self.grown[task] = journal_bytes(self.run, task)
            (idle or self._new_worker()).take(task, self.logs.log(task))
        return bool(self.board.running)

    def _with_the_model_of(self, worker: Worker | None) -> list[str]:
        """The stages that need no other model on the GPU than the one that a worker has loaded."""
        if worker is None or worker.last is None:
            return []
        held = self.run.stage(worker.last.stage)
        return [stage.name for stage in self.run.plan.stages if held.resources.gpus_per_worker and stage.model == held.model]

    def _new_worker(self) -> Worker:
        slot = next(number for number in range(self.wanted) if number not in self.slots.values())
        cores = len(os.sched_getaffinity(0)) // self.wanted
        environment = {"OMP_NUM_THREADS": str(max(cores, 1)), **os.environ}
        if self.gpus[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus[slot])
        worker = Worker(self.run, self.logs.startup, environment)
        self.workers[worker.replies] = worker
        self.slots[worker.replies] = slot
        self.selector.register(worker.replies, selectors.EVENT_READ)
        return worker

    def _listen(self) -> None:
        for key, _ in self.selector.select(POLL_SECONDS):
            worker = self.workers[key.fd]
            messages, died = worker.messages()
            for message in messages:
                self._hear(worker, message)
            if died:
                self._bury(worker)
        self.view.refresh()

    def _hear(self, worker: Worker, message: dict[str, Any]) -> None:
        task = worker.task
        if task is None or "ready" in message or "tail" in message:
            return
        if "progress" in message:
            self.view.progress(task, Progress(**message["progress"]))
            return
        worker.task = None
        self.view.ended(task)
        if message["end"] == "done":
            manifest = self.run.manifest(*task)
            assert manifest is not None
            self.board.finish(task, manifest)
            self.result.ran += 1
        elif message["end"] == "died":
            self.dying[worker.replies] = message["message"]
            worker.task = task  # buried with it in a moment, when its pipe is closed
        elif message["end"] == "stopped":
            self.board.give_back(task)
        else:
            self._failed(task, message["end"], message["message"])

    def _bury(self, worker: Worker) -> None:
        """Forget a dead worker; its task goes back, unless it has killed too many."""
        self.selector.unregister(worker.replies)
        del self.workers[worker.replies], self.slots[worker.replies]
        worker.close()
        why = self.dying.pop(worker.replies, "")
        if worker.task is not None:
            self.view.ended(worker.task)
            self._failed(worker.task, "died", why or f"its worker died ({how_it_died(worker.process.returncode)})")

    def _failed(self, task: Task, kind: Any, message: str) -> None:
        """Note a failed attempt; the task is given up when there were too many without progress."""
        log = self.logs.log(task)
        failure = Failure(
            stage=task.stage, shard=task.shard, kind=kind, message=message, node=socket.gethostname(),
            log=str(log if log.exists() else self.logs.startup), progressed=journal_bytes(self.run, task) > self.grown[task],
        )  # fmt: skip
        self.jobs.note_failure(failure)
        if task.shard in self.jobs.quarantined(task.stage):
            self.board.fail(task)
            self.result.failed.append(failure)
        else:
            self.board.give_back(task)

    def _stop_all(self) -> None:
        """Ask the workers to flush and leave, and wait for them. A signal now acts as usual."""
        for worker in self.workers.values():
            worker.stop()
            worker.dismiss()
        while any(worker.process.poll() is None for worker in self.workers.values()):
            time.sleep(0.05)
        raise Stopped("all workers have flushed what they had done")

    def _close_all(self) -> None:
        for worker in self.workers.values():
            if worker.task is not None:
                worker.stop(signal.SIGKILL)
            worker.close()
        self.selector.close()


def gpus_of_slots(run: RunFolder, workers: int) -> list[tuple[str, ...]]:
    """The GPUs of each worker, as many as the stage that needs most; fewer workers than asked for if there are not enough GPUs.

    Raises UserError when there are too few for one worker.
    """
    each = max(stage.resources.gpus_per_worker for stage in run.plan.stages)
    if not each:
        return [()] * workers
    gpus = visible_gpus()
    if len(gpus) < each:
        raise UserError(f"a worker of this pipeline needs {each} GPUs and this machine shows {len(gpus)}; see: shardmill doctor")
    return [share_of(gpus, slot, each) for slot in range(min(workers, len(gpus) // each))]
