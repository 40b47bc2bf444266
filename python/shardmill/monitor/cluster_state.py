"""The state of a run's jobs: from the run's own records, then `squeue`, then `sacct` for what the queue has forgotten.

Whether a shard is complete depends on its manifest alone, never on anything here.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from shardmill.launch import slurm
from shardmill.launch.phases import phase_name
from shardmill.store.jobs import Allocation, JobsFolder
from shardmill.util.errors import UserError

ALLOCATION_SECONDS = 120.0
"""An allocation whose record was touched within this time has not ended; a live one touches it several times a minute."""
REASONS = {
    "Resources": "waiting for a free node",
    "Priority": "waiting for a free node, behind other jobs",
    "Dependency": "waiting for a job that it depends on",
    "JobArrayTaskLimit": "waiting: as many nodes as allowed at once are in use",
    "BeginTime": "requeued, waiting for SLURM's delay",
    "JobHeldUser": "on hold by the user (scontrol release)",
    "JobHeldAdmin": "on hold by an administrator",
    "JobRequeueHold": "on hold after it was requeued (scontrol release)",
    "JobLaunchFailure": "on hold, since it could not be started (scontrol release)",
    "launch_failed_requeued_held": "on hold, since it could not be started (scontrol release)",
    "ReqNodeNotAvail": "waiting for nodes that are down, drained or reserved",
    "Nodes_required_for_job_are_DOWN": "waiting for nodes that are down, drained or reserved",
    "PartitionDown": "waiting: the partition is down",
    "PartitionInactive": "waiting: the partition is inactive",
    "PartitionTimeLimit": "requests more time than the partition allows",
    "PartitionNodeLimit": "requests more than the partition allows",
    "Reservation": "waiting for the reservation",
    "Licenses": "waiting for a license",
}
ENDS = {
    "COMPLETED": "ended",
    "FAILED": "failed",
    "TIMEOUT": "reached its time limit",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node",
    "PREEMPTED": "was preempted",
    "OUT_OF_MEMORY": "ran out of memory",
    "DEADLINE": "reached its deadline",
    "done": "ended",
    "failed": "failed",
    "stopped": "was stopped",
}
JobState = Literal["queued", "running", "ended", "unknown"]


@dataclass(frozen=True)
class ElementState:
    """An element of an array, or the job that builds the datasets: its state, and why. `since`: when it got its node."""

    job: str
    phase: str
    state: JobState
    words: str = ""
    node: str = ""
    since: float | None = None

    @property
    def live(self) -> bool:
        return self.state in ("queued", "running")


@dataclass
class ClusterState:
    """The jobs of a run.

    Attributes:
        answered: Whether SLURM answered. If it was asked and did not, `note` says why and the rest is from the run's files.
        elements: The state of each element, by job id.
        shards: The state of the element that a shard of a stage belongs to.
        workers: Workers of an element, by job id.
        per_worker: GPUs and CPUs of a worker, by stage, as submitted last.
        last_seen: When an element's node was last known to be at work, by job id.
    """

    site: str = ""
    answered: bool = False
    note: str = ""
    elements: dict[str, ElementState] = field(default_factory=dict)
    shards: dict[tuple[str, int], ElementState] = field(default_factory=dict)
    finish: ElementState | None = None
    allocations: list[Allocation] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)
    per_worker: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_seen: dict[str, float] = field(default_factory=dict)

    @property
    def launched(self) -> bool:
        """Whether anything was ever submitted for the run."""
        return bool(self.site)

    @property
    def live(self) -> bool:
        return any(element.live for element in [*self.elements.values(), *([self.finish] if self.finish else [])])

    def count(self, state: JobState) -> int:
        return sum(element.state == state for element in self.elements.values())

    def reasons(self) -> dict[str, int]:
        """Why elements wait, and how many for each reason."""
        return dict(Counter(each.words for each in self.elements.values() if each.state == "queued").most_common())

    def nodes(self) -> list[str]:
        return sorted({each.node for each in self.elements.values() if each.state == "running" and each.node})

    def may_run(self, job: str) -> bool:
        """Whether a worker of `job` can still be running, by what SLURM answered."""
        element = self.elements.get(job)
        return not self.answered or element is None or element.state == "running"


def read_cluster(jobs: JobsFolder, unfinished: Mapping[str, set[int]], ended: dict[str, slurm.Job] | None = None) -> ClusterState:
    """The jobs of a run now.

    Args:
        jobs: The run's records.
        unfinished: The unfinished shards of each stage; the accounting is asked for the jobs of no others.
        ended: What the accounting said so far; it is added to, so that the next call does not ask again.
    """
    submissions = jobs.submissions()
    state = ClusterState(site=submissions[-1].site if submissions else "", allocations=jobs.allocations())
    latest = _latest(state.allocations)
    state.last_seen = {job: each.ended or each.started for job, each in latest.items()}
    arrays = [array for submission in submissions for array in submission.arrays]
    finish = next((each.finish for each in reversed(submissions) if each.finish), None)
    queue = _ask(state, jobs, [array.job for array in arrays] + ([finish] if finish else []))
    past = {} if ended is None else ended
    if state.answered:
        forgotten = {
            array.job
            for array in arrays
            for job, shards in zip(array.ids(), array.elements, strict=True)
            if job not in queue and job not in past and any(unfinished.get(stage, set()) & set(shards) for stage in array.stages)
        }
        past.update(slurm.history(forgotten) or {})
    for array in arrays:
        state.per_worker.update(dict.fromkeys(array.stages, (array.gpus / array.workers, array.cpus / array.workers)))
        for job, shards in zip(array.ids(), array.elements, strict=True):
            element = _element(job, phase_name(array.stages), queue.get(job), past.get(job), latest.get(job), state.answered)
            state.elements[job] = element
            state.workers[job] = array.workers
            for task in product(array.stages, shards):
                earlier = state.shards.get(task)
                if earlier is None or element.live or not earlier.live:
                    state.shards[task] = element
    if finish:
        state.finish = _element(finish, "build", queue.get(finish), past.get(finish), None, state.answered)
    return state


def _ask(state: ClusterState, jobs: JobsFolder, ids: list[str]) -> dict[str, slurm.Job]:
    """What squeue says; an empty answer with `state.note` where it cannot be asked."""
    if not ids:
        return {}
    alone = "the rest is from the run's files"
    owner = (jobs.path / "submissions").stat().st_uid
    if not slurm.available():
        state.note = f"SLURM's commands were not found; {alone} (run this on a login node to see what is queued)"
    elif owner != os.getuid():
        state.note = f"the jobs belong to another user (uid {owner}); {alone}"
    else:
        try:
            queue = slurm.queue(ids)
        except UserError as error:
            state.note = f"SLURM does not answer ({error}); {alone}"
        else:
            state.answered = True
            return queue
    return {}


def _latest(allocations: list[Allocation]) -> dict[str, Allocation]:
    """The latest start of each job."""
    found: dict[str, Allocation] = {}
    for each in sorted(allocations, key=lambda each: (each.job, each.restart)):
        found[each.job] = each
    return found


def _element(
    job: str, phase: str, queued: slurm.Job | None, past: slurm.Job | None, allocation: Allocation | None, answered: bool
) -> ElementState:
    since = allocation.started if allocation else None
    if queued is not None and queued.running:
        where = queued.node or (allocation.node if allocation else "")
        return ElementState(job, phase, "running", f"running on {where}" if where else "running", where, since)
    if queued is not None and queued.reason == slurm.NEVER:
        return ElementState(job, phase, "ended", "could never start, since a job that it depends on failed")
    if queued is not None and queued.state in slurm.BETWEEN:
        return ElementState(job, phase, "queued", f"{ENDS[queued.state]}, to be requeued")
    if queued is not None and queued.waiting:
        return ElementState(job, phase, "queued", words_for(queued.reason))
    last = queued or past
    if answered:
        how = last.state if last is not None else allocation.outcome if allocation is not None else ""
        return ElementState(job, phase, "ended", ENDS.get(how, "ended"), allocation.node if allocation else "")
    if allocation is not None and not allocation.outcome and time.time() - (allocation.ended or 0) < ALLOCATION_SECONDS:
        return ElementState(job, phase, "running", f"running on {allocation.node}", allocation.node, since)
    if allocation is not None and allocation.outcome in ("done", "failed"):
        return ElementState(job, phase, "ended", ENDS[allocation.outcome], allocation.node)
    return ElementState(job, phase, "unknown", "SLURM was not asked")


def words_for(reason: str) -> str:
    """SLURM's reason for not starting a job, in words.

    >>> words_for("ReqNodeNotAvail, UnavailableNodes:n1")
    'waiting for nodes that are down, drained or reserved'
    """
    name = reason.partition(",")[0].strip("() ")
    if name in REASONS:
        return REASONS[name]
    if name.startswith(("QOS", "Assoc", "MaxSubmit", "MaxJobs")):
        return f"waiting: a limit of the account or QOS is reached ({name})"
    return f"waiting ({name})" if name not in ("", "None") else "waiting"
