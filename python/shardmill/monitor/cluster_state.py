"""What became of the jobs of a run: the run's own records, then `squeue`, then `sacct` for what the queue has forgotten.

A shard's manifest outranks all of it, so nothing here says that a shard is complete.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shardmill.launch import slurm
from shardmill.store.jobs import Allocation, JobsFolder
from shardmill.util.errors import UserError

SEEN_SECONDS = 120.0
"""A node whose record was touched within this time is still held; holders touch it several times a minute."""
REASONS = {
    "Resources": "waiting for a free node",
    "Priority": "waiting for a free node, behind other jobs",
    "Dependency": "held back by a dependency",
    "JobArrayTaskLimit": "waiting: as many nodes as allowed at once are in use",
    "BeginTime": "queued again, waiting for SLURM's delay",
    "JobHeldUser": "held by the user (scontrol release)",
    "JobHeldAdmin": "held by an administrator",
    "JobRequeueHold": "held after it was queued again (scontrol release)",
    "JobLaunchFailure": "held, since it could not be started (scontrol release)",
    "launch_failed_requeued_held": "held, since it could not be started (scontrol release)",
    "ReqNodeNotAvail": "waiting for nodes that are down, drained or reserved",
    "Nodes_required_for_job_are_DOWN": "waiting for nodes that are down, drained or reserved",
    "PartitionDown": "waiting: the partition is down",
    "PartitionInactive": "waiting: the partition is inactive",
    "PartitionTimeLimit": "asking for more time than the partition allows",
    "PartitionNodeLimit": "asking for more than the partition allows",
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
FinishedShards = Literal["queued", "running", "ended", "unknown"]


@dataclass(frozen=True)
class ElementState:
    """One element of an array, or the job that builds: how it stands, and why so in words. `since` is when it got its node."""

    job: str
    stage: str
    state: FinishedShards
    words: str = ""
    node: str = ""
    since: float | None = None

    @property
    def live(self) -> bool:
        return self.state in ("queued", "running")


@dataclass
class ClusterState:
    """The jobs of a run. `told`: SLURM answered; if it was asked and did not, `note` says so and the rest is from the files."""

    site: str = ""
    told: bool = False
    note: str = ""
    elements: dict[str, ElementState] = field(default_factory=dict)
    shards: dict[tuple[str, int], ElementState] = field(default_factory=dict)
    finish: ElementState | None = None
    allocations: list[Allocation] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)
    per_worker: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_held: dict[str, float] = field(default_factory=dict)

    @property
    def launched(self) -> bool:
        """Whether anything was ever submitted for the run."""
        return bool(self.site)

    @property
    def live(self) -> bool:
        return any(element.live for element in [*self.elements.values(), *([self.finish] if self.finish else [])])

    def count(self, state: FinishedShards) -> int:
        return sum(element.state == state for element in self.elements.values())

    def reasons(self) -> dict[str, int]:
        """Why elements wait, and how many for each reason."""
        return dict(Counter(each.words for each in self.elements.values() if each.state == "queued").most_common())

    def nodes(self) -> list[str]:
        return sorted({each.node for each in self.elements.values() if each.state == "running" and each.node})

    def may_run(self, job: str) -> bool:
        """Whether a worker that says it belongs to `job` can still be at work, as far as SLURM told."""
        element = self.elements.get(job)
        return not self.told or element is None or element.state == "running"


def read_cluster(jobs: JobsFolder, unfinished: Mapping[str, set[int]], ended: dict[str, slurm.Job] | None = None) -> ClusterState:
    """The jobs of a run now. `unfinished` names the open shards of each stage: the accounting is asked of no others.

    `ended` remembers what the accounting said, for the next call.
    """
    submissions = jobs.submissions()
    state = ClusterState(site=submissions[-1].site if submissions else "", allocations=jobs.allocations())
    held = _latest(state.allocations)
    state.last_held = {job: each.ended or each.started for job, each in held.items()}
    arrays = [array for submission in submissions for array in submission.arrays]
    finish = next((each.finish for each in reversed(submissions) if each.finish), None)
    queue = _ask(state, jobs, [array.job for array in arrays] + ([finish] if finish else []))
    past = {} if ended is None else ended
    if state.told:
        forgotten = {
            array.job
            for array in arrays
            for job, shards in zip(array.ids(), array.elements, strict=True)
            if job not in queue and job not in past and unfinished.get(array.stage, set()) & set(shards)
        }
        past.update(slurm.history(forgotten) or {})
    for array in arrays:
        state.per_worker[array.stage] = (array.gpus / array.workers, array.cpus / array.workers)
        for job, shards in zip(array.ids(), array.elements, strict=True):
            element = _element(job, array.stage, queue.get(job), past.get(job), held.get(job), state.told)
            state.elements[job] = element
            state.workers[job] = array.workers
            for shard in shards:
                earlier = state.shards.get((array.stage, shard))
                if earlier is None or element.live or not earlier.live:
                    state.shards[array.stage, shard] = element
    if finish:
        state.finish = _element(finish, "build", queue.get(finish), past.get(finish), None, state.told)
    return state


def _ask(state: ClusterState, jobs: JobsFolder, ids: list[str]) -> dict[str, slurm.Job]:
    """What squeue says; an empty answer with `state.note` where it cannot be asked."""
    if not ids:
        return {}
    alone = "what follows is from the run's files alone"
    owner = (jobs.path / "submissions").stat().st_uid
    if not slurm.available():
        state.note = f"SLURM's commands are not here; {alone} (look from a login node for what is queued)"
    elif owner != os.getuid():
        state.note = f"the jobs belong to another user (uid {owner}); {alone}"
    else:
        try:
            queue = slurm.queue(ids)
        except UserError as error:
            state.note = f"SLURM does not say how the jobs stand ({error}); {alone}"
        else:
            state.told = True
            return queue
    return {}


def _latest(allocations: list[Allocation]) -> dict[str, Allocation]:
    """The latest start of each job."""
    found: dict[str, Allocation] = {}
    for each in sorted(allocations, key=lambda each: (each.job, each.restart)):
        found[each.job] = each
    return found


def _element(
    job: str, stage: str, queued: slurm.Job | None, past: slurm.Job | None, held: Allocation | None, told: bool
) -> ElementState:
    since = held.started if held else None
    if queued is not None and queued.running:
        where = queued.node or (held.node if held else "")
        return ElementState(job, stage, "running", f"running on {where}" if where else "running", where, since)
    if queued is not None and queued.reason == slurm.NEVER:
        return ElementState(job, stage, "ended", "could never start, since what it depends on failed")
    if queued is not None and queued.state in slurm.BETWEEN:
        return ElementState(job, stage, "queued", f"{ENDS[queued.state]}, to be queued again")
    if queued is not None and queued.waiting:
        return ElementState(job, stage, "queued", words_for(queued.reason))
    gone = queued or past
    if told:
        how = gone.state if gone is not None else held.outcome if held is not None else ""
        return ElementState(job, stage, "ended", ENDS.get(how, "ended"), held.node if held else "")
    if held is not None and not held.outcome and time.time() - (held.ended or 0) < SEEN_SECONDS:
        return ElementState(job, stage, "running", f"running on {held.node}", held.node, since)
    if held is not None and held.outcome in ("done", "failed"):
        return ElementState(job, stage, "ended", ENDS[held.outcome], held.node)
    return ElementState(job, stage, "unknown", "SLURM was not asked")


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
