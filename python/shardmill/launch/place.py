"""What a slot is told to do, where it is, and the signals that reach it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass

from shardmill.launch import slurm
from shardmill.launch.gpus import share_of, visible_gpus


@dataclass(frozen=True)
class Assignment:
    """What an element of a job array is to do: these shards of this stage, and how its node is to be judged.

    If it is `chained` to the stage before, shards without input are those given up there; else that stage was not run yet.
    """

    run: str
    stage: str
    shards: tuple[int, ...]
    logs: str
    gpus_per_worker: int = 0
    cpus: int = 0
    scratch: str | None = None
    health_check: tuple[str, ...] = ()
    partition: str | None = None
    chained: bool = True


@dataclass(frozen=True)
class WorkerContext:
    """Where a slot is: its node, its job (as `12_3`, empty without SLURM), its number among the `slots` of the node, its GPUs."""

    node: str
    job: str
    restart: int
    slot: int
    slots: int
    gpus: tuple[str, ...]

    @property
    def label(self) -> str:
        """What its log is named by."""
        return f"{self.job or self.node}-{self.slot}"


def here(gpus_per_worker: int) -> WorkerContext:
    """The place of this process, from the variables that SLURM sets, or that `run_node` sets instead."""
    env = os.environ
    slot = int(env.get("SHARDMILL_SLOT") or env.get("SLURM_LOCALID") or 0)
    slots = int(env.get("SHARDMILL_SLOTS") or env.get("SLURM_STEP_NUM_TASKS") or env.get("SLURM_NTASKS") or 1)
    gpus = visible_gpus() if gpus_per_worker else []
    if len(gpus) != gpus_per_worker:  # the task sees all GPUs of the node, not only its own
        gpus = list(share_of(gpus, slot, gpus_per_worker))
    node = env.get("SHARDMILL_NODE") or env.get("SLURMD_NODENAME") or socket.gethostname()
    return WorkerContext(node, slurm.job_id() or "", int(env.get("SLURM_RESTART_COUNT") or 0), slot, slots, tuple(gpus))


class Signals:
    """Notes the signals that SLURM sends, and lets none of them end the process."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda which, frame: self.seen.add(which))

    @property
    def stop(self) -> bool:
        return bool(self.seen)

    @property
    def queue_again(self) -> bool:
        """USR2 comes before a time limit or a preemption; SIGTERM alone is `scancel`, or SLURM requeues the job by itself."""
        return signal.SIGUSR2 in self.seen
