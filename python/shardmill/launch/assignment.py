"""What an element of a job array is to do, where it runs, and the signals that reach it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from shardmill.launch import slurm
from shardmill.launch.gpus import share_of, visible_gpus
from shardmill.launch.time_warning import has_come
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.errors import UserError
from shardmill.util.signals import STOPPING


@dataclass(frozen=True)
class Assignment:
    """These shards in these stages, and how the node is to be checked.

    If the element is `chained` to what it reads from, shards without input failed there; else that was not run yet. If it
    `helps`, it also does shards of other elements in its stages, as far as its own shards are made from these.
    """

    run: str
    stages: tuple[str, ...]
    shards: tuple[int, ...]
    logs: str
    gpus_per_worker: int = 0
    cpus: int = 0
    scratch: str | None = None
    health_check: tuple[str, ...] = ()
    partition: str | None = None
    exclude: str = ""
    chained: bool = True
    helps: bool = True


@dataclass(frozen=True)
class WorkerContext:
    """Where a supervisor runs.

    Attributes:
        node: The name of the node.
        job: The job's id, `12_3` for an element of an array; empty without SLURM.
        restart: How often the job was started again.
        number: The number of this SLURM task among those of the node, each of which has one worker.
        workers: The workers on the node.
        gpus: The GPUs of this process.
    """

    node: str
    job: str = ""
    restart: int = 0
    number: int = 0
    workers: int = 1
    gpus: tuple[str, ...] = ()


def worker_context(gpus_per_worker: int) -> WorkerContext:
    """The context of this process, from the variables that SLURM sets."""
    env = os.environ
    number = int(env.get("SLURM_LOCALID") or 0)
    workers = int(env.get("SLURM_STEP_NUM_TASKS") or env.get("SLURM_NTASKS") or 1)
    gpus = visible_gpus() if gpus_per_worker else []
    if len(gpus) != gpus_per_worker:  # the task sees all GPUs of the node, not only its own
        gpus = list(share_of(gpus, number, gpus_per_worker))
    node = env.get("SLURMD_NODENAME") or socket.gethostname()
    return WorkerContext(node, slurm.job_id() or "", int(env.get("SLURM_RESTART_COUNT") or 0), number, workers, tuple(gpus))


def array_task_assignment(run_path: str, *stages: str) -> Assignment:
    """What a task of a plain `sbatch --array` job does: array task k of n gets the k-th of n equal parts of all shards.

    Raises:
        UserError: If the array's numbers have gaps, or the stages ask for different numbers of GPUs.
    """
    run = RunFolder(Path(run_path).resolve())
    named = {run.stage(stage).name for stage in stages}
    planned = [stage for stage in run.plan.stages if stage.name in named]
    env = os.environ
    first = int(env.get("SLURM_ARRAY_TASK_MIN", "0"))
    index = int(env.get("SLURM_ARRAY_TASK_ID", first)) - first
    count = int(env.get("SLURM_ARRAY_TASK_MAX", first)) - first + 1
    if not 0 <= index < count:
        raise UserError(f"element {index} of {count}: number the array tasks from 0 on, without gaps")
    gpus = {stage.resources.gpus_per_worker for stage in planned} - {0}
    if len(gpus) > 1:
        raise UserError(
            f"the stages {', '.join(stage.name for stage in planned)} ask for {' and '.join(map(str, sorted(gpus)))} GPUs for a "
            f"worker; give each number of GPUs an array of its own"
        )
    return Assignment(
        run=str(run.path),
        stages=tuple(stage.name for stage in planned),
        shards=tuple(part(run.num_shards, index, count)),
        logs=str(TaskLogs(run).folder),
        gpus_per_worker=max(gpus, default=0),
        cpus=int(env.get("SLURM_CPUS_ON_NODE", "0")),
        partition=env.get("SLURM_JOB_PARTITION"),
        chained=False,
    )


def part(num_shards: int, index: int, count: int) -> range:
    """The shards of element `index` of `count`: parts that differ by at most one shard.

    >>> [list(part(5, index, 2)) for index in range(2)]
    [[0, 1], [2, 3, 4]]
    """
    return range(num_shards * index // count, num_shards * (index + 1) // count)


class JobSignals:
    """The signals that SLURM has sent. None of them ends the process: SLURM sends several, and rows are to be saved first."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        for number in STOPPING:
            signal.signal(number, lambda which, frame: self.received.add(which))

    def __call__(self) -> bool:
        """Whether the job is to stop."""
        if has_come():
            self.received.add(signal.SIGUSR2)
        return bool(self.received)

    @property
    def requeue(self) -> bool:
        """USR1 or USR2 come before a time limit or a preemption; SIGTERM alone is `scancel`, or SLURM requeues by itself."""
        return bool(self.received & {signal.SIGUSR1, signal.SIGUSR2})
