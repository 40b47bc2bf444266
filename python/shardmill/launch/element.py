"""An element of a job array: one supervisor, and what a cluster needs around it.

A node that fails its checks, or on which nothing succeeds, is recorded as bad and the job goes elsewhere; at a signal rows are
saved and the job is queued again. What the SLURM tasks of a node share is on disk: manifests, leases, records in `RUN/jobs/`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shardmill.launch import slurm
from shardmill.launch.assignment import Assignment, JobSignals, WorkerContext
from shardmill.launch.element_queue import BadNodeError, ElementQueue, say
from shardmill.launch.gpus import share_of
from shardmill.launch.node_check import node_problem
from shardmill.launch.supervisor import WorkerSupervisor
from shardmill.launch.throttle import share_limit
from shardmill.launch.worker_process import WorkerSpec
from shardmill.store.allocations import LiveAllocation
from shardmill.store.jobs import Allocation, BadNode, Failure, JobsFolder
from shardmill.store.leases import this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import BudgetSpent, PlanChanged, UserError
from shardmill.util.exits import EXIT_BUDGET, EXIT_RESUMABLE

MAX_FRUITLESS = 3
"""A job that was stopped so often without finishing a row is not queued again: its time limit is too short."""


class Element:
    """One SLURM task of an element with one worker; or without SLURM a whole node, with several.

    Args:
        work: What to do.
        context: Where this is.
        signals: Which signals have come.
        workers: Workers of this process; each gets its share of the context's GPUs.
        environment: The workers' variables, but for CUDA_VISIBLE_DEVICES.
    """

    def __init__(
        self,
        work: Assignment,
        context: WorkerContext,
        signals: JobSignals,
        workers: int = 1,
        environment: Mapping[str, str] = os.environ,
    ):
        self.work, self.context, self.signals = work, context, signals
        self._lease: dict[str, Any] = {"node": context.node, "job": context.job, "restart": context.restart}
        self.specs = [self._worker_spec(index, environment) for index in range(workers)]
        self._open_run()

    def _open_run(self) -> None:
        """Read the plan as it is now."""
        self.run = RunFolder(Path(self.work.run))
        self.jobs = JobsFolder(self.run)
        self.queue = ElementQueue(self.run, self.work, self.context, this_process(**self._lease), self._other_nodes)

    def _worker_spec(self, index: int, environment: Mapping[str, str]) -> WorkerSpec:
        work, context = self.work, self.context
        log = Path(work.logs) / f"{work.stages[0]}-{context.job or context.node}-{context.number + index}.log"
        gpus = share_of(context.gpus, index, work.gpus_per_worker)
        own = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if work.gpus_per_worker else {}
        return WorkerSpec({**environment, **own}, log, lease={**self._lease, "log": str(log)})

    @property
    def log(self) -> Path:
        """The log of the first worker, which is the log of the element."""
        return self.specs[0].startup_log

    @property
    def _leads(self) -> bool:
        """Whether this task does what is to be done once for its job."""
        return self.context.number == 0 and bool(self.context.job)

    def run_shards(self) -> int:
        """Work until every shard of the element is finished or quarantined; returns the exit code."""
        work, wanted = self.work, self.work.gpus_per_worker * len(self.specs)
        problem = node_problem(self.run, self.context.gpus, wanted, work.scratch, work.health_check)
        if problem is not None:
            return self._leave_node(problem)
        with ExitStack() as stack:
            if not self._leads:
                return self._supervise()
            share_limit(self.jobs)
            stack.callback(share_limit, self.jobs)
            allocation = stack.enter_context(LiveAllocation(self.jobs, self._allocation()))
            code = self._supervise()
            allocation.outcome = "stopped" if self.signals() else "done" if code == 0 else "failed"
            return code

    def _supervise(self) -> int:
        while True:
            try:
                if WorkerSupervisor(self.run, self.queue, self.specs, self.context, self.signals).supervise():
                    return self._stop()
                break
            except PlanChanged as change:
                say(str(change))
                self._open_run()
            except BudgetSpent as spent:
                say(str(spent))
                return EXIT_BUDGET
            except BadNodeError as problem:
                return self._leave_node(str(problem))
        return self._finished()

    def _finished(self) -> int:
        """The exit code where nothing is left to do."""
        # A chained element's missing shards failed before it, so the next phase may continue with those that are finished.
        return int(bool(self.queue.unfinished()) and not self.work.chained)

    def _allocation(self) -> Allocation:
        context = self.context
        return Allocation(
            stages=list(self.work.stages), job=context.job, restart=context.restart, node=context.node,
            gpus=self.work.gpus_per_worker * context.workers, cpus=self.work.cpus, started=time.time(),
        )  # fmt: skip

    def _stop(self) -> int:
        """A signal came and the worker has saved its rows: queue the job again, if SLURM does not do so by itself."""
        say("stopped by a signal; what is finished is saved")
        context = self.context
        left = self.queue.left()
        if not left:  # the signal came after the last shard: what waits for this job has its input
            return self._finished()
        if not (self.signals.requeue and context.job):
            return EXIT_RESUMABLE
        if not self._leads:  # the first task has the job queued again, or finds that the others have finished what was left
            return 0
        latest = range(context.restart + 1)[-MAX_FRUITLESS:]
        if len(latest) < MAX_FRUITLESS or not left.ready or self.jobs.made_progress(context.job, latest):
            return self._requeue(())
        message = f"its job was stopped {MAX_FRUITLESS} times before a row was finished; give the stage more minutes"
        for task in left.ready:
            self.jobs.note_failure(
                Failure(stage=task.stage, shard=task.shard, kind="stuck", message=message, node=context.node, job=context.job,
                        restart=context.restart, log=str(self.log))
            )  # fmt: skip
        say(message)
        return 1

    def _leave_node(self, reason: str) -> int:
        """Record this node as bad and have the element done elsewhere."""
        context = self.context
        say(f"node {context.node}: {reason}")
        self.jobs.note_bad_node(
            BadNode(node=context.node, reason=reason, stage=self.work.stages[0], job=context.job, restart=context.restart)
        )
        if not context.job or not self._other_nodes():
            return 1
        return self._requeue({*filter(None, [self.work.exclude]), *(bad.node for bad in self.jobs.bad_nodes())})

    def _other_nodes(self) -> set[str]:
        """The nodes that the element could move to."""
        try:
            nodes, excluded = slurm.nodes(self.work.partition), slurm.hostnames(self.work.exclude)
        except UserError as error:
            say(f"which other nodes there are is not known ({error})")
            return set()
        return nodes - excluded - {bad.node for bad in self.jobs.bad_nodes()} - {self.context.node}

    def _requeue(self, exclude: Collection[str]) -> int:
        # `scontrol requeue` has SLURM signal this very process, which still has to exclude nodes and close its records.
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        try:
            slurm.requeue(self.context.job, exclude)
        except UserError as error:
            say(f"cannot be queued again ({error}); launch again to continue")
            return 1
        return EXIT_RESUMABLE
