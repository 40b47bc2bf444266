"""What a launch on a cluster submits: worked out from the run's files first, then from the queue; nothing is submitted here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shardmill.launch import slurm
from shardmill.launch.elements import ElementArray, arrays_of, groups, limit, minutes_of
from shardmill.launch.environment import check_environment
from shardmill.launch.site import Site
from shardmill.launch.throttle import current_shares
from shardmill.store.jobs import JobsFolder
from shardmill.store.plan import Resources
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import needed_shards
from shardmill.util.errors import UserError


@dataclass
class ClusterPlan:
    """What a launch would submit, and what is left out: `live` jobs of earlier launches and `quarantined` shards by stage."""

    run: RunFolder
    site: Site
    group: int
    max_parallel: int | None
    arrays: list[ElementArray] = field(default_factory=list)
    lowered: dict[str, int] = field(default_factory=dict)
    live: dict[str, slurm.Job] = field(default_factory=dict)
    quarantined: dict[str, list[int]] = field(default_factory=dict)
    bad_nodes: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def job_name(self) -> str:
        """What the names of this run's jobs begin with."""
        return TaskLogs(self.run).folder.name

    def resources(self, stage: str) -> Resources:
        return self.site.resources(self.run.stage(stage))

    def workers(self, array: ElementArray) -> int:
        """Workers of an array on one node: as many as fit, but no more than an element has shards."""
        return min(self.site.workers_per_node(self.resources(array.stage)), array.longest)

    def minutes(self, array: ElementArray) -> int:
        return minutes_of(array.longest, self.workers(array), self.resources(array.stage).minutes, self.site.max_minutes)


def plan_launch(run: RunFolder, site: Site, *, max_parallel: int | None = None, group: int | None = None) -> ClusterPlan:
    """Work out the arrays for everything that is not finished, not under way and not quarantined.

    Raises UserError for a site that does not fit the run, and when SLURM cannot tell what is under way.
    """
    site.check(run.plan)
    if site.environment is not None:
        check_environment(site.environment)
    jobs = JobsFolder(run)
    submissions = jobs.submissions()
    most = max_parallel or site.max_parallel
    group = group or (submissions[-1].group if submissions else 0) or default_group(run, site)
    plan = ClusterPlan(run, site, group, most, bad_nodes=_to_avoid(jobs, site))
    records = [record for submission in submissions for record in submission.arrays]
    queue = slurm.queue([record.job for record in records])
    unknown = slurm.named(plan.job_name) - {record.job for record in records} - {each.finish for each in submissions}
    if unknown:
        raise UserError(
            f"{len(unknown)} jobs of this run are in the queue and not on record: a launch was killed while it submitted them; "
            f"remove them, then launch again: scancel {' '.join(sorted(unknown))}"
        )
    plan.live = {job: state for job, state in queue.items() if state.live and state.reason != slurm.NEVER}
    under_way: dict[tuple[str, int], list[str]] = {}
    for record in records:
        for job, shards in zip(record.ids(), record.elements, strict=True):
            if job in plan.live:
                for shard in shards:
                    under_way.setdefault((record.stage, shard), []).append(job)
    needed = needed_shards(run)
    after = {stage.name: stage.after for stage in run.plan.stages}
    plan.quarantined = {stage: aside for stage in after if (aside := sorted(jobs.quarantined(stage)))}
    state = _states(run, after, plan.quarantined, needed)
    plan.arrays = arrays_of(
        after,
        groups(needed, group),
        lambda stage, shard: state[stage, shard] == "open",
        under_way,
        site.max_array_size or slurm.max_array_size(),
    )
    plan.complete = all(value == "done" for value in state.values())
    shares = current_shares(jobs)
    live_arrays = {job.partition("_")[0] for job in plan.live}
    plan.lowered = limit(plan.arrays, {job: shares[job] for job in shares if job in live_arrays}, most)
    return plan


def _to_avoid(jobs: JobsFolder, site: Site) -> list[str]:
    """The bad nodes, unless no other would be left: a job that no node may take would wait for ever."""
    bad = {node.node for node in jobs.bad_nodes()}
    partitions = {site.queue(gpu).partition for gpu in (True, False)} if bad else set()
    return sorted(bad) if all(slurm.nodes(partition) - bad for partition in partitions) else []


def default_group(run: RunFolder, site: Site) -> int:
    """Shards of an element: as many as the stage with the most workers on a node takes, each its `shards_per_task`."""
    sizes = []
    for stage in run.plan.stages:
        resources = site.resources(stage)
        sizes.append(site.workers_per_node(resources) * resources.shards_per_task)
    return max(sizes)


def _states(
    run: RunFolder, after: Mapping[str, str], quarantined: Mapping[str, list[int]], needed: int
) -> dict[tuple[str, int], str]:
    """Of each shard in each stage: done, open, or held back by quarantine here or before."""
    complete = run.complete()
    state: dict[tuple[str, int], str] = {}
    for stage, source in after.items():
        for shard in range(needed):
            if (stage, shard) in complete:
                state[stage, shard] = "done"
            elif shard in quarantined.get(stage, ()) or state.get((source, shard)) == "held back":
                state[stage, shard] = "held back"
            else:
                state[stage, shard] = "open"
    return state
