"""What a launch on a cluster submits, by the run's files and then the queue. Nothing is submitted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

from shardmill.launch import slurm
from shardmill.launch.elements import ElementArray, arrays_of, groups, limit
from shardmill.launch.environment import check_environment
from shardmill.launch.job_settings import JobSettings
from shardmill.launch.phases import Phase, phases_of, resources_of
from shardmill.launch.sharing import group_number
from shardmill.launch.site import Site
from shardmill.launch.throttle import current_shares
from shardmill.launch.waves import wave
from shardmill.store.jobs import JobsFolder, Submission
from shardmill.store.plan import Plan, Resources
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import needed_shards
from shardmill.util.errors import UserError
from shardmill.util.words import count_of


@dataclass
class ClusterPlan:
    """What a launch would submit, and what is left out: `live` jobs of earlier launches and `quarantined` shards by stage.

    `postponed` elements wait until the queue has room for them; `finished` counts the finished shards of all stages.
    """

    run: RunFolder
    site: Site
    group: int
    max_parallel: int | None
    by_stage: bool = False
    phases: list[Phase] = field(default_factory=list)
    arrays: list[ElementArray] = field(default_factory=list)
    lowered: dict[str, int] = field(default_factory=dict)
    live: dict[str, slurm.Job] = field(default_factory=dict)
    quarantined: dict[str, list[int]] = field(default_factory=dict)
    bad_nodes: list[str] = field(default_factory=list)
    complete: bool = False
    finished: int = 0
    postponed: int = 0
    logs: Path | None = None
    _outside: dict[tuple[str, str | None], str] = field(default_factory=dict)

    @property
    def job_name(self) -> str:
        """What the names of this run's jobs begin with."""
        return TaskLogs(self.run).folder.name

    @property
    def log_folder(self) -> Path:
        """Where the logs of the run's jobs are: below the site's `logs`, unless the run has a log folder elsewhere already."""
        folder = TaskLogs(self.run).folder
        if self.logs is not None:
            return self.logs
        return folder.resolve() if self.site.logs is None or folder.exists() else self.site.logs / folder.name

    def resources(self, phase: Phase) -> Resources:
        """What a worker of a phase is given."""
        return phase_resources(self.run, self.site, phase)

    def workers(self, array: ElementArray) -> int:
        """Workers of an array on one node: as many as fit, but no more than an element has shards."""
        return min(workers_per_node(self.run, self.site, array.stages), array.longest)

    def jobs(self, array: ElementArray) -> JobSettings:
        """The site's settings of the jobs of an array."""
        return phase_jobs(self.run, self.site, array.stages)

    def excluded(self, jobs: JobSettings) -> str:
        """The nodes that jobs of these settings must not get, as an expression: also those that their `nodelist` leaves out.

        With `--nodelist` itself a job would get all of these nodes, not one of them.
        """
        key = (jobs.nodelist or "", jobs.partition)
        if jobs.nodelist and key not in self._outside:
            self._outside[key] = slurm.nodes_outside(*key)
        return ",".join(filter(None, [jobs.exclude, self._outside.get(key), *self.bad_nodes]))

    def minutes(self, array: ElementArray) -> int:
        return self.jobs(array).time_limit(array.longest, self.workers(array), self.resources(array.stages).minutes)


def phase_resources(run: RunFolder, site: Site, phase: Phase) -> Resources:
    """What a worker of a phase is given on a site."""
    return resources_of(site.resources(run.stage(stage)) for stage in phase)


def phase_jobs(run: RunFolder, site: Site, phase: Phase) -> JobSettings:
    """The settings of the jobs of a phase on a site."""
    roles = (role for stage in phase if (role := run.stage(stage).role))
    return site.jobs(bool(phase_resources(run, site, phase).gpus_per_worker), next(roles, None))


def workers_per_node(run: RunFolder, site: Site, phase: Phase) -> int:
    """How many workers of a phase fit on a node. Raises UserError if none does."""
    return phase_jobs(run, site, phase).workers_per_node(phase_resources(run, site, phase), site.name)


def plan_launch(
    run: RunFolder,
    site: Site,
    *,
    max_parallel: int | None = None,
    group: int | None = None,
    by_stage: bool | None = None,
    minutes: Mapping[str, float] | None = None,
) -> ClusterPlan:
    """Plan the arrays for everything that is not finished, not in the queue and not quarantined.

    Args:
        run: The run.
        site: The cluster.
        max_parallel: The most nodes at once; the site's limit if not given.
        group: Shards of an element; that of the last launch, or `default_group`, if not given.
        by_stage: Whether each stage has arrays of its own; see `each_stage_alone` if not given.
        minutes: What a shard of a stage takes, where that was measured.

    Raises:
        UserError: If the site does not fit the run, stages of one phase ask for different GPUs, SLURM does not answer, or jobs of
            the run are in the queue unrecorded.
    """
    check_site(site, run.plan)
    jobs = JobsFolder(run)
    submissions = jobs.submissions()
    limit_of_nodes = max_parallel or site.max_parallel
    by_stage = each_stage_alone(submissions, by_stage)
    phases = phases_of(run.plan.stages, site.resources, minutes, by_stage=by_stage)
    group = group or (submissions[-1].group if submissions else 0) or default_group(run, site, phases)
    plan = ClusterPlan(run, site, group, limit_of_nodes, by_stage, phases, bad_nodes=_nodes_to_avoid(jobs, site))
    records = [record for submission in submissions for record in submission.arrays]
    queue = slurm.queue([record.job for record in records])
    unknown = slurm.named(plan.job_name) - {record.job for record in records} - {each.finish for each in submissions}
    if unknown:
        raise UserError(
            f"the queue has {count_of(len(unknown), 'job')} of this run without a record, from a launch that was killed; "
            f"cancel them, then launch again: scancel {' '.join(sorted(unknown))}"
        )
    plan.live = {job: state for job, state in queue.items() if state.live and state.reason != slurm.NEVER}
    in_queue: dict[tuple[str, int], list[str]] = {}
    for record in records:
        for job, shards in zip(record.ids(), record.elements, strict=True):
            if job in plan.live:
                for task in product(record.stages, shards):
                    in_queue.setdefault(task, []).append(job)
    needed = needed_shards(run)
    after = {stage.name: stage.after for stage in run.plan.stages}
    plan.quarantined = {stage: shards for stage in after if (shards := sorted(jobs.quarantined(stage)))}
    state = _states(run, after, plan.quarantined, needed)
    plan.complete = all(value == "done" for value in state.values())
    plan.finished = sum(value == "done" for value in state.values())
    open_phases, parts = _open_phases(phases, state), groups(needed, group)
    if site.max_jobs is not None and not plan.complete:
        room = site.max_jobs - slurm.jobs_in_queue() - 1  # for the job that submits the next wave, or builds
        is_open = partial(_is_open, state)
        chosen, plan.postponed = wave(open_phases, after, parts, is_open, in_queue, run.needed_by, room)
        state = {task: "later" if value == "open" and task not in chosen else value for task, value in state.items()}
    largest = site.max_array_size or slurm.max_array_size()
    plan.arrays = arrays_of(open_phases, after, parts, partial(_is_open, state), in_queue, largest, run.needed_by)
    shares = current_shares(jobs)
    live_arrays = {job.partition("_")[0] for job in plan.live}
    plan.lowered = limit(plan.arrays, {job: shares[job] for job in shares if job in live_arrays}, limit_of_nodes)
    return plan


def check_site(site: Site, plan: Plan) -> None:
    """Check what is known before there is a run folder. Raises UserError if a file of the site is faulty, or does not fit."""
    site.check(plan)
    if site.environment is not None:
        check_environment(site.environment, site.container is not None)
    if site.container is not None:
        site.container.check()
    if site.group is not None:
        group_number(site.group)


def each_stage_alone(submissions: Sequence[Submission], asked: bool | None = None) -> bool:
    """Whether each stage has arrays of its own: as asked for, else as in the last launch, else it has not."""
    return asked if asked is not None else bool(submissions) and submissions[-1].by_stage


def _nodes_to_avoid(jobs: JobsFolder, site: Site) -> list[str]:
    """The bad nodes, unless no other would be left: a job that excludes every node would wait for ever."""
    bad = {node.node for node in jobs.bad_nodes()}
    partitions = {settings.partition for settings in site.kinds().values()} if bad else set()
    return sorted(bad) if all(slurm.nodes(partition) - bad for partition in partitions) else []


def default_group(run: RunFolder, site: Site, phases: Sequence[Phase]) -> int:
    """Shards of an element: `shards_per_task` for each worker of the phase that has the most workers on a node."""
    return max(workers_per_node(run, site, phase) * phase_resources(run, site, phase).shards_per_task for phase in phases)


def _is_open(state: Mapping[tuple[str, int], str], stage: str, shard: int) -> bool:
    return state[stage, shard] == "open"


def _open_phases(phases: Sequence[Phase], state: Mapping[tuple[str, int], str]) -> list[Phase]:
    """The phases without the stages that have nothing to do: the others may need no GPUs, and less time."""
    unfinished = {stage for (stage, _), value in state.items() if value == "open"}
    found = [tuple(stage for stage in phase if stage in unfinished) for phase in phases]
    return [phase for phase in found if phase]


def _states(
    run: RunFolder, after: Mapping[str, str], quarantined: Mapping[str, list[int]], needed: int
) -> dict[tuple[str, int], str]:
    """The state of each shard in each stage: done, open, or blocked by a quarantine in this stage or before it."""
    complete = run.finished()
    state: dict[tuple[str, int], str] = {}
    for stage, source in after.items():
        above = {shard for shard in range(needed) if state.get((source, shard)) == "blocked"}
        failed = set(quarantined.get(stage, ()))
        for shard in range(needed):
            if (stage, shard) in complete:
                state[stage, shard] = "done"
            elif shard in failed or (above and not above.isdisjoint(run.needed_by(stage, shard))):
                state[stage, shard] = "blocked"
            else:
                state[stage, shard] = "open"
    return state
