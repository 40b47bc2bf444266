"""A slot: one worker's place on a node, with its own GPUs: what each SLURM task of an element is.

It hands the shards of its element to a worker process, one after another; replaces a worker that dies; quarantines a shard that
kills every worker; leaves a node that fails everything; and at a signal has the worker save what it has and queues the job again.
What the slots of a node share is on disk: manifests, claims and the records in `RUN/jobs/`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shardmill.launch import slurm
from shardmill.launch.health import node_problem
from shardmill.launch.place import Assignment, Signals, WorkerContext
from shardmill.launch.throttle import share_limit
from shardmill.launch.worker_process import Worker, how_it_died, journal_bytes
from shardmill.store.jobs import Allocation, BadNode, Failure, HeldNode, JobsFolder
from shardmill.store.leases import blocks, live_blocks, live_blocks_of, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task, needed_shards
from shardmill.util.errors import UserError
from shardmill.util.progress import Progress, ProgressLine

POLL_SECONDS = 2.0
GRACE_SECONDS = 25.0
STOP_CODES = (-signal.SIGUSR2, -signal.SIGTERM)
MAX_FRUITLESS = 3
"""A job that was stopped so often without finishing a row is not queued again: its time limit is too short."""


@dataclass
class Slot:
    """See the module."""

    work: Assignment
    place: WorkerContext
    signals: Signals
    run: RunFolder = field(init=False)
    worker: Worker | None = None
    ahead: Task | None = None
    tails: set[int] = field(default_factory=set)
    early: dict[int, tuple[str, str]] = field(default_factory=dict)
    exhausted: dict[int, frozenset[int]] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    reason: str = ""
    sound: bool = False

    def __post_init__(self) -> None:
        self.run = RunFolder(Path(self.work.run))
        self.jobs = JobsFolder(self.run)
        self.log = Path(self.work.logs) / f"{self.work.stage}-{self.place.label}.log"
        self.share: dict[str, Any] = {
            "node": self.place.node,
            "job": self.place.job,
            "restart": self.place.restart,
            "log": str(self.log),
        }
        self.me = this_process(**self.share)

    def __call__(self) -> int:
        """Work until every shard of the element is finished or given up; returns the exit code."""
        problem = node_problem(self.run, self.place.gpus, self.work.gpus_per_worker, self.work.scratch, self.work.health_check)
        if problem is not None:
            return self._leave_node(problem)
        leads = self.place.slot == 0 and bool(self.place.job)
        with ExitStack() as stack:
            held = stack.enter_context(HeldNode(self.jobs, self._allocation())) if leads else None
            if leads:
                share_limit(self.jobs)
            stack.callback(self._dismiss)
            code = self._work()
            if held is not None:
                held.outcome = "stopped" if self.signals.stop else "done" if code == 0 else "failed"
        if leads:
            share_limit(self.jobs)
        return code

    def _work(self) -> int:
        while not self.signals.stop:
            left = self._left()
            if not left:
                return self._close()
            shard = self.ahead.shard if self.ahead else self._next(left)
            if shard is None:
                time.sleep(POLL_SECONDS)
            elif not self._do(Task(self.work.stage, shard)):
                return self._leave_node(self.reason)
        return self._stop()

    def _allocation(self) -> Allocation:
        gpus = self.work.gpus_per_worker * self.place.slots
        place = self.place
        return Allocation(
            stage=self.work.stage, job=place.job, restart=place.restart, node=place.node,
            gpus=gpus, cpus=self.work.cpus, started=time.time(),
        )  # fmt: skip

    def _left(self) -> list[int]:
        """The shards that can be worked on, those with the most rows first."""
        stage = self.work.stage
        source = self.run.after(stage)
        assert source is not None
        self.done |= {shard for shard in self.work.shards if shard not in self.done and self.run.is_complete(stage, shard)}
        aside = self.jobs.quarantined(stage)
        rows = {
            shard: above.lines_out
            for shard in self._needed()
            if shard not in self.done and shard not in aside and (above := self.run.manifest(source, shard)) is not None
        }
        return sorted(rows, key=lambda shard: -rows[shard])

    def _needed(self) -> list[int]:
        """The shards of the element, but for those after the run's target is reached."""
        needed = needed_shards(self.run)
        return [shard for shard in self.work.shards if shard < needed]

    def _next(self, left: Sequence[int]) -> int | None:
        """A shard that nobody is at, else one whose rows can be shared; None when all that is left is in other hands."""
        order = [left[(self.place.slot + index) % len(left)] for index in range(len(left))]
        found = live_blocks_of([self.run.files(self.work.stage, shard) for shard in order], self.me)
        live = {shard: frozenset(taken) for shard, taken in zip(order, found, strict=True)}
        for shard in order:
            if not live[shard]:
                return shard
        source = self.run.after(self.work.stage)
        assert source is not None
        for shard in order:
            above = self.run.manifest(source, shard)
            free = len(blocks(above.lines_out)) - len(live[shard]) if above is not None else 0
            if free > 0 and self.exhausted.get(shard) != live[shard]:
                return shard
        return None

    def _do(self, task: Task) -> bool:
        """Have the worker do a task; False when the node must be left."""
        before = journal_bytes(self.run, task)
        end, message = self._have_done(task)
        if end == "done":
            self._progressed()
        elif end == "held":
            self.exhausted[task.shard] = frozenset(live_blocks(self.run.files(*task), self.me))
        elif end != "stopped" and not self.signals.stop:
            return self._note_failure(task, end, message, journal_bytes(self.run, task) > before)
        return True

    def _note_failure(self, task: Task, end: str, message: str, progressed: bool) -> bool:
        if progressed:
            self._progressed()
        kind: Any = {"refused": "refused", "error": "error"}.get(end, "died")
        place = self.place
        self.jobs.note_failure(
            Failure(
                stage=task.stage, shard=task.shard, kind=kind, message=message, node=place.node, job=place.job,
                restart=place.restart, log=str(self.log), progressed=progressed,
            )
        )  # fmt: skip
        self._say(f"{task}: {message}")
        if task.shard not in self.jobs.quarantined(task.stage):
            return True
        if place.job and not self.jobs.is_sound(place.node, place.job, place.restart):
            earlier = {bad.node for bad in self.jobs.bad_nodes() if bad.job == place.job and bad.node != place.node}
            if not earlier and self._elsewhere():
                self.reason = f"nothing that it was given succeeded; the last was {task}: {message}"
                return False
            self.jobs.clear_nodes(earlier)  # the same fails here: it was not the node
        self._say(f"{task} is quarantined; mend the cause, then: shardmill retry {self.run.path}")
        return True

    def _have_done(self, task: Task) -> tuple[str, str]:
        """How a task ended: `end` and `message` of the worker, or `died`."""
        if self.worker is None:
            environment = dict(os.environ)
            if self.work.gpus_per_worker:
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.place.gpus)
            self.worker = Worker(self.run, self.log, environment)
        worker = self.worker
        if task == self.ahead:
            self.ahead = None
        else:
            worker.take(task, self.log, self.share)
        line = ProgressLine(str(task))
        deadline: float | None = None
        while task.shard not in self.early:
            if task.shard in self.tails and self.ahead is None:
                self._go_ahead(worker, task)
            select.select([worker.replies], [], [], 0.5)
            messages, died = worker.messages()
            for message in messages:
                if "tail" in message:
                    self.tails.add(message["shard"])
                elif "progress" in message and message["shard"] == task.shard:
                    progress = Progress(**message["progress"])
                    line(progress)
                    if progress.rows > progress.resumed:
                        self._progressed()
                elif message.get("end") == "died":
                    self._bury(worker)
                    return "died", message["message"]
                elif "end" in message:
                    self.early[message["shard"]] = (message["end"], message["message"])
            if died and task.shard not in self.early:
                self._bury(worker)
                code = worker.process.returncode
                # SLURM signals workers too, and one that is only just starting does not listen yet
                return "stopped" if code in STOP_CODES else "died", f"its worker died ({how_it_died(code)})"
            if self.signals.stop and deadline is None:
                deadline = time.monotonic() + GRACE_SECONDS
                worker.dismiss()
            if deadline is not None and time.monotonic() > deadline:
                worker.stop(signal.SIGKILL)
        self.tails.discard(task.shard)
        return self.early.pop(task.shard)

    def _go_ahead(self, worker: Worker, task: Task) -> None:
        """The model has been asked all of a task: have the next shard asked while the last answers come."""
        self.tails.discard(task.shard)
        left = [shard for shard in self._left() if shard != task.shard]
        if left and not self.signals.stop and (shard := self._next(left)) is not None:
            self.ahead = Task(self.work.stage, shard)
            worker.take(self.ahead, self.log, self.share)

    def _bury(self, worker: Worker) -> None:
        self.worker = self.ahead = None
        self.early.clear()
        self.tails.clear()
        worker.close()

    def _progressed(self) -> None:
        if not self.sound:
            self.sound = True
            self.jobs.mark_sound(self.place.node, self.place.job, self.place.restart)

    def _close(self) -> int:
        """Nothing is left to do: the next stage may go on with what is finished."""
        stage = self.work.stage
        aside = self.jobs.quarantined(stage)
        if aside:
            self._say(f"{len(aside)} shards are quarantined: {sorted(aside)[:8]}")
        known = self.done | aside.keys() | self._given_up(self.run.after(stage))
        without = [shard for shard in self._needed() if shard not in known]
        if without:
            self._say(f"{self.run.after(stage)} has not finished the shards {without[:8]}; run that stage first")
        return int(bool(without) and not self.work.chained)

    def _given_up(self, stage: str | None) -> set[int]:
        """The shards that a stage or one before it gave up."""
        found: set[int] = set()
        while stage is not None and (source := self.run.after(stage)) is not None:
            found |= self.jobs.quarantined(stage).keys()
            stage = source
        return found

    def _stop(self) -> int:
        """A signal came and the worker has saved its rows: queue the job again, if that is for us to do."""
        self._say("stopped by a signal; what is finished is saved")
        place = self.place
        if not (self.signals.queue_again and place.job and place.slot == 0 and self._left()):
            return 75
        latest = range(place.restart + 1)[-MAX_FRUITLESS:]
        if len(latest) == MAX_FRUITLESS and not self.jobs.got_on(place.job, latest):
            message = f"its job was stopped {MAX_FRUITLESS} times before a row was finished; give the stage more minutes"
            for shard in self._left():
                self.jobs.note_failure(
                    Failure(stage=self.work.stage, shard=shard, kind="stuck", message=message, node=place.node, job=place.job,
                            restart=place.restart, log=str(self.log))
                )  # fmt: skip
            self._say(message)
            return 1
        return self._queue_again(())

    def _leave_node(self, reason: str) -> int:
        """Name this node as bad and have the element done elsewhere."""
        place = self.place
        self._say(f"node {place.node}: {reason}")
        self.jobs.note_bad_node(
            BadNode(node=place.node, reason=reason, stage=self.work.stage, job=place.job, restart=place.restart)
        )
        if not place.job or not self._elsewhere():
            return 1
        return self._queue_again({bad.node for bad in self.jobs.bad_nodes()})

    def _elsewhere(self) -> set[str]:
        """The nodes that the element could go to."""
        try:
            nodes = slurm.nodes(self.work.partition)
        except UserError as error:
            self._say(f"cannot tell which other nodes there are ({error})")
            return set()
        return nodes - {bad.node for bad in self.jobs.bad_nodes()} - {self.place.node}

    def _queue_again(self, exclude: Sequence[str] | set[str]) -> int:
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        try:
            slurm.requeue(self.place.job, exclude)
        except UserError as error:
            self._say(f"cannot be queued again ({error}); launch again to go on")
            return 1
        return 75

    def _dismiss(self) -> None:
        if self.worker is not None:
            self.worker.close()

    def _say(self, line: str) -> None:
        print(f"=== {line}", file=sys.stderr, flush=True)
