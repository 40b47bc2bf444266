"""What SLURM says of a run's shards, as far as it answers; the run's own files come first wherever they know better."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardmill.errors import UserError
from shardmill.launch import slurm
from shardmill.launch.jobs import JobsFolder

REASONS = {
    "Dependency": "wait for the stage before",
    "JobArrayTaskLimit": "wait for their turn (limit of nodes at once)",
    "Resources": "wait for a free node",
    "Priority": "wait behind other jobs",
    "BeginTime": "wait to start again",
    "QOSMaxJobsPerUserLimit": "wait for your other jobs (limit of the QOS)",
    "AssocMaxJobsLimit": "wait for your other jobs (limit of the account)",
    "ReqNodeNotAvail": "wait for nodes that are down or reserved",
    "JobHeldUser": "are held by you",
    "JobHeldAdmin": "are held by an administrator",
    slurm.NEVER: "can never start",
}


@dataclass
class ClusterState:
    """The newest job of each (stage, shard), the state of the job that builds, why elements wait, and why SLURM is silent."""

    jobs: dict[tuple[str, int], slurm.Job] = field(default_factory=dict)
    finish: str = ""
    waiting: dict[str, int] = field(default_factory=dict)
    elements_running: int = 0
    silent: str = ""

    @property
    def live(self) -> bool:
        return self.elements_running > 0 or bool(self.waiting) or self.building

    @property
    def building(self) -> bool:
        """The job that builds the datasets runs, or will."""
        return self.finish.upper() in slurm.WAITING | slurm.RUNNING


def read_cluster(jobs: JobsFolder) -> ClusterState:
    """The state of all jobs that were submitted for a run; an empty one when there were none."""
    state = ClusterState()
    submissions = jobs.submissions()
    if not submissions:
        return state
    arrays = [array for submission in submissions for array in submission.arrays]
    finish = next((each.finish for each in reversed(submissions) if each.finish), None)
    ids = [array.job for array in arrays] + ([finish] if finish else [])
    if not slurm.available():
        state.silent = "there are no SLURM commands on this machine"
        return state
    try:
        queue = slurm.queue(ids)
    except UserError as error:
        state.silent = str(error)
        return state
    forgotten = [array.job for array in arrays if not any(id in queue for id in array.ids())]
    known = {**(slurm.history(forgotten) or {}), **queue}
    for array in arrays:
        for id, shards in zip(array.ids(), array.elements, strict=True):
            job = known.get(id)
            if job is None:
                continue
            for shard in shards:
                state.jobs[array.stage, shard] = job
            if job.running:
                state.elements_running += 1
            elif job.waiting:
                why = REASONS.get(job.reason, f"wait ({job.reason})")
                state.waiting[why] = state.waiting.get(why, 0) + 1
    if finish and finish in queue:
        state.finish = queue[finish].state.lower()
    return state
