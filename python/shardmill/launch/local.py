"""The local launcher: worker processes on this machine that take tasks until the run is complete.

There is no barrier between stages: a task starts as soon as its own shard of the stage before is there. What is finished is
never done again, so launching again is resuming.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shardmill.errors import Stopped
from shardmill.launch.progress import LiveView
from shardmill.launch.task_logs import TaskLogs
from shardmill.launch.tasks import Task, TaskBoard, board_of
from shardmill.launch.worker_process import Worker, how_it_died, journal_bytes
from shardmill.shards.run_folder import RunFolder
from shardmill.standalone import StopFlag
from shardmill.worker import Progress

MOST_DEATHS = 3
"""A task whose worker dies so often without finishing a row is set aside."""

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Failure:
    """A task that was given up, why, and the log to read."""

    stage: str
    shard: int
    message: str
    log: Path


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
        self.wanted = workers
        self.logs = TaskLogs(run)
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, Worker] = {}
        self.slots: dict[int, int] = {}
        self.deaths: dict[Task, int] = {}
        self.grown: dict[Task, int] = {}
        self.result = LaunchResult()

    def run_all(self) -> LaunchResult:
        stop = StopFlag()
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
        while len(self.board.running) < self.wanted and (task := self.board.next()) is not None:
            self.board.start(task)
            self.grown[task] = journal_bytes(self.run, task)
            self._idle_worker().take(task, self.logs.log(task))
        return bool(self.board.running)

    def _idle_worker(self) -> Worker:
        for worker in self.workers.values():
            if worker.task is None:
                return worker
        slot = next(number for number in range(self.wanted) if number not in self.slots.values())
        worker = Worker(self.run, self.logs.startup, slot_environment(slot))
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
        if task is None or "ready" in message:
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
            self.logs.forget_failure(task)
            self.result.ran += 1
        elif message["end"] == "stopped":
            self.board.give_back(task)
        elif message["end"] == "refused":
            self._fail(task, message["message"])
        else:
            self._try_again(task, message["message"], most=2)

    def _bury(self, worker: Worker) -> None:
        """Forget a dead worker; its task goes back, unless it has killed too many."""
        self.selector.unregister(worker.replies)
        del self.workers[worker.replies], self.slots[worker.replies]
        worker.close()
        if worker.task is not None:
            self.view.ended(worker.task)
            self._try_again(worker.task, f"its worker died ({how_it_died(worker.process.returncode)})", most=MOST_DEATHS)

    def _try_again(self, task: Task, message: str, most: int) -> None:
        grown = journal_bytes(self.run, task) > self.grown[task]
        self.deaths[task] = 1 if grown else self.deaths.get(task, 0) + 1
        if self.deaths[task] >= most:
            self._fail(task, f"{message}, {self.deaths[task]} times without progress")
        else:
            self.board.give_back(task)

    def _fail(self, task: Task, message: str) -> None:
        self.board.fail(task)
        self.logs.note_failure(task, message)
        log = self.logs.log(task)
        self.result.failed.append(Failure(task.stage, task.shard, message, log if log.exists() else self.logs.startup))

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


def slot_environment(slot: int) -> dict[str, str]:
    """The environment of a worker: of several GPUs that this process may use, one is its own."""
    environment = dict(os.environ)
    gpus = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if len(gpus) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return environment
