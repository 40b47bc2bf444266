"""Worker processes under supervision: started, given tasks, watched, reaped and replaced.

A local launch, a node by its number and an element of a job array have the same supervisor. They differ in their task queue
(where tasks come from, and how progress is shown) and in what each worker has to itself.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol

from shardmill.launch.assignment import WorkerContext
from shardmill.launch.worker_process import WorkerProcess, WorkerSpec, describe_exit, journal_bytes
from shardmill.store.at_work import check_not_kept_out, presence
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.leases import this_process
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task
from shardmill.util.atomic import new_attempt
from shardmill.util.errors import BudgetSpent, PlanChanged
from shardmill.util.progress import Progress

POLL_SECONDS = 0.25
STOP_SECONDS = 25.0
"""A worker that has not left so long after it was asked to is stale, and killed. SLURM kills everything after 30 s."""
STOP_CODES = (-signal.SIGUSR1, -signal.SIGUSR2, -signal.SIGTERM)
"""In a job, SLURM signals workers too, and one that is only just starting does not listen yet."""

End = Literal["done", "busy", "returned"]
"""How a task ended that did not fail: finished; all rows that are left are other workers' now; given back unfinished."""


class TaskQueue(Protocol):
    """Where a supervisor's tasks come from, and where it reports what became of them.

    Attributes:
        finished: Whether `next_task` will give no more, but for what follows from tasks in progress.
        retry_seconds: How long to wait before `next_task` is called again after it returned None.
    """

    finished: bool
    retry_seconds: float

    def next_task(self, worker: int, last: Task | None, in_progress: Collection[Task]) -> Task | None:
        """What an idle worker should do now; `last` is what it did before, `in_progress` what its supervisor's workers do."""

    def next_ahead(self, worker: int, in_progress: Collection[Task]) -> Task | None:
        """What a worker should ask its model while the last answers of its task come."""

    def progress(self, task: Task, progress: Progress) -> None:
        """Rows of a task are finished."""

    def ended(self, task: Task, end: End) -> None:
        """A task ended without failing."""

    def failed(self, failure: Failure, quarantined: bool) -> None:
        """A task failed, which is on record already; `quarantined` if it is not to be tried again."""

    def refresh(self) -> None:
        """Called several times a second."""


class WorkerSupervisor:
    """Keeps workers at the tasks of a queue.

    A worker is healthy while its pipe is open. One that dies is reaped: the task that it was at has failed, and another worker is
    started for the next one. A shard that fails too often without progress is quarantined, and the others continue.
    """

    def __init__(
        self,
        run: RunFolder,
        queue: TaskQueue,
        specs: Sequence[WorkerSpec],
        context: WorkerContext,
        should_stop: Callable[[], bool],
    ):
        self.run, self.queue, self.specs, self.context = run, queue, specs, context
        self.jobs = JobsFolder(run)
        self.workers: dict[int, WorkerProcess] = {}
        self._should_stop = should_stop
        self._stopping = False
        self._outdated: str | None = None
        self._spent: str | None = None
        self._retry_at = 0.0
        self._selector = selectors.DefaultSelector()

    def supervise(self) -> bool:
        """Work until the queue is finished, or a signal comes; returns whether it was a signal.

        Raises:
            PlanChanged: If another command has changed the plan or opened shards again. All workers have left then.
            BudgetSpent: If the run has cost what it may. All workers have finished what was paid for then.
        """
        owner = this_process(new_attempt(), self.context.node, self.context.job, self.context.restart)
        with presence(self.run, owner):
            check_not_kept_out(self.run)
            try:
                return self._work()
            finally:
                self._close_workers()

    def _work(self) -> bool:
        while self._assign_tasks():
            self._poll_workers()
            self.queue.refresh()
            if self._outdated is not None:
                self._stop_workers()
                raise PlanChanged(self._outdated)
            if self._should_stop():
                self._stop_workers()
                return True
        if self._spent is not None:
            raise BudgetSpent(self._spent)
        return False

    def _assign_tasks(self) -> bool:
        """Give tasks to idle workers, starting workers as needed; False when nothing is left to wait for.

        Once the budget is spent, workers get no more tasks, and what they have in progress is waited for.
        """
        if self._spent is not None:
            return bool(self._in_progress())
        if time.monotonic() >= self._retry_at:
            for number in self._idle():
                last = self.workers[number].last if number in self.workers else None
                task = self.queue.next_task(number, last, self._in_progress())
                if task is None:
                    self._retry_at = time.monotonic() + self.queue.retry_seconds
                    break
                (self.workers.get(number) or self._start_worker(number)).take(task)
        return bool(self._in_progress()) or not self.queue.finished

    def _idle(self) -> list[int]:
        """The workers without a task: those that run first, as they may have a model loaded, then those not started yet."""
        running = [number for number, worker in self.workers.items() if not worker.tasks and not worker.leaving]
        return running + [number for number in range(len(self.specs)) if number not in self.workers]

    def _in_progress(self) -> list[Task]:
        return [task for worker in self.workers.values() for task in worker.tasks]

    def _start_worker(self, number: int) -> WorkerProcess:
        worker = self.workers[number] = WorkerProcess(self.run, self.specs[number])
        self._selector.register(worker.replies, selectors.EVENT_READ, number)
        return worker

    def _poll_workers(self) -> None:
        for key, _ in self._selector.select(POLL_SECONDS):
            messages, closed = self.workers[key.data].poll_replies()
            for message in messages:
                self._handle(key.data, message)
            if closed:
                self._reap(key.data)

    def _handle(self, number: int, message: dict[str, Any]) -> None:
        worker = self.workers[number]
        if "ready" in message:
            return
        task = Task(message["stage"], message["shard"])
        if "progress" in message:
            self.queue.progress(task, Progress(**message["progress"]))
        elif "asked_all" in message:
            worker.asked_all.add(task)
            self._look_ahead(number)
        elif message["end"] == "died":
            worker.cause = message["message"]  # its pipe is closed in a moment
        else:
            self._end_task(number, task, message["end"], message["message"])

    def _look_ahead(self, number: int) -> None:
        """If the model has all of a worker's only task, let it have the next one, so that it does not run dry in between."""
        worker = self.workers[number]
        if not self._stopping and self._spent is None and len(worker.tasks) == 1 and worker.asked_all >= worker.tasks.keys():
            task = self.queue.next_ahead(number, self._in_progress())
            if task is not None:
                worker.take(task)

    def _end_task(self, number: int, task: Task, end: str, message: str) -> None:
        worker = self.workers[number]
        before = worker.tasks.pop(task)
        worker.asked_all.discard(task)
        self._retry_at = 0.0
        if end == "stopped":
            worker.leaving = True
        if end in ("done", "busy"):
            self.queue.ended(task, "done" if end == "done" else "busy")
        elif end == "outdated":
            self._outdated = message
            self.queue.ended(task, "returned")
        elif end == "spent":
            self._spent = message
            self.queue.ended(task, "returned")
        elif end == "stopped" or self._stopping:
            self.queue.ended(task, "returned")
        else:
            self._record_failure(worker, task, end, message, before)
        self._look_ahead(number)

    def _record_failure(self, worker: WorkerProcess, task: Task, kind: Any, message: str, before: int) -> None:
        failure = Failure(
            stage=task.stage, shard=task.shard, kind=kind, message=message, node=self.context.node, job=self.context.job,
            restart=self.context.restart, log=str(worker.log_of(task)), progressed=journal_bytes(self.run, task) > before,
        )  # fmt: skip
        self.jobs.note_failure(failure)
        self.queue.failed(failure, task.shard in self.jobs.quarantined(task.stage))

    def _reap(self, number: int) -> None:
        """Forget a worker that has ended. The task that it was at has failed; one that waited behind it goes back."""
        worker = self.workers.pop(number)
        self._selector.unregister(worker.replies)
        worker.close()
        self._retry_at = 0.0
        code = worker.process.returncode
        for position, (task, before) in enumerate(worker.tasks.items()):
            if position or self._stopping or (self.context.job and code in STOP_CODES):
                self.queue.ended(task, "returned")
            else:
                self._record_failure(worker, task, "died", worker.cause or f"its worker died ({describe_exit(code)})", before)

    def _stop_workers(self) -> None:
        """Have all workers save what they have and leave; kill those that do not."""
        self._stopping = True
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self.workers.values():
            worker.dismiss()
        while self.workers:
            self._poll_workers()
            if time.monotonic() > deadline:
                for worker in self.workers.values():
                    worker.kill()

    def _close_workers(self) -> None:
        """Let the idle workers go, and end those with a task: an error or a second signal ended the supervision."""
        for worker in self.workers.values():
            if worker.tasks:
                worker.kill()
            worker.close()
        self._selector.close()
