"""How far a run is, by its files first and then by SLURM. It is right while workers run, while none does, and on any machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from shardmill.launch import slurm
from shardmill.monitor.cluster_state import ClusterState, read_cluster
from shardmill.monitor.run_summary import closing_lines
from shardmill.monitor.snapshot import Memory, Snapshot
from shardmill.monitor.stage_status import StageStatus, stage_statuses
from shardmill.store.at_work import is_at_work
from shardmill.store.goodput import GpuTime, gpu_time
from shardmill.store.jobs import JobsFolder
from shardmill.store.no_rows import no_rows
from shardmill.store.run_folder import RunFolder
from shardmill.store.spending import read_budget, spent_on
from shardmill.store.tasks import Task, shards_for
from shardmill.util.plain_text import plain

UNFINISHED, NO_ROWS, FAILED, FINISHED = 4, 3, 1, 0


@dataclass
class Seen:
    """What earlier calls of `read_status` found and need not read again."""

    files: Memory = field(default_factory=Memory)
    ended: dict[str, slurm.Job] = field(default_factory=dict)


@dataclass
class ClusterStatus:
    """What SLURM says: elements (nodes' worth of work) by state, why they wait, nodes at work, the job that builds at the end.

    `note` says why SLURM did not answer; then `answered` is false and the rest is from the files.
    build_state: queued, running, ended or unknown; empty where no such job was submitted.
    """

    site: str
    answered: bool
    note: str
    running: int
    queued: int
    queued_why: dict[str, int]
    nodes: list[str]
    build: str
    build_state: str


@dataclass
class RunStatus:
    """A run: its stages, the sums over them, what SLURM says, and what to do next.

    finished: every needed shard is finished; live: something runs, or will without being launched again.
    goodput: accepted rows of the last stages per allocated GPU-hour (`goodput_per` says GPU-hour; CPU-hour in a run without
    GPUs). gpu_time: what the allocated GPUs were doing, by phase. eta_seconds: None where nothing is known. bad_nodes: the nodes
    that are avoided, and why. damaged: manifests that cannot be read; missing: files that finished shards have no more. cluster:
    None for a run that was never launched on one.
    spent: what all requests have cost so far, also those of unfinished shards and of rows made again; None for nothing. max_cost:
    the budget, None without one.
    closing: what became of all rows, once finished.
    no_rows: why no row came out of a finished run, and what to do; empty for any other.
    """

    run: str
    pipeline: str
    rows: int
    stages: list[StageStatus]
    finished: bool
    live: bool
    eta_seconds: float | None
    gpu_hours: float
    gpu_hours_left: float | None
    cpu_hours: float
    cpu_hours_left: float | None
    cost: float | None
    cost_left: float | None
    spent: float | None
    max_cost: float | None
    goodput: float | None
    goodput_per: str
    cluster: ClusterStatus | None
    bad_nodes: dict[str, str]
    damaged: list[str]
    missing: list[str]
    closing: list[str]
    no_rows: str = ""
    next: str = ""
    gpu_time: list[GpuTime] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields of this class, of StageStatus, SlowShard and ClusterStatus, by their names."""
        return asdict(self)


def read_status(run: RunFolder, seen: Seen | None = None) -> RunStatus:
    """The status of a run now. Given the same `seen`, later calls do not read again what has not changed."""
    seen = seen or Seen()
    now = Snapshot(run.path, seen.files)
    jobs = JobsFolder(now)
    complete = now.finished()

    def rows_out(task: Task) -> int | None:
        return complete[task].rows_out if task in complete else None

    needed = shards_for(now.plan.target_rows, now.num_shards, now.leaves(), rows_out)
    unfinished = {stage: {shard for shard in range(needed) if (stage, shard) not in complete} for stage in now.stages}
    cluster = read_cluster(jobs, unfinished, seen.ended)
    stages = stage_statuses(now, jobs, cluster, complete, needed)
    finished = all(stage.finished for stage in stages)
    gpu_hours, cpu_hours = sum(stage.gpu_hours for stage in stages), sum(stage.cpu_hours for stage in stages)
    accepted = sum(stage.rows_out for stage in stages if stage.stage in now.leaves())
    hours = gpu_hours or cpu_hours
    status = RunStatus(
        run=str(run.path),
        pipeline=now.plan.pipeline,
        rows=now.plan.input.rows,
        stages=stages,
        finished=finished,
        live=bool(cluster.finish and cluster.finish.live) if finished else _is_live(now, cluster, stages),
        eta_seconds=_eta(stages),
        gpu_hours=gpu_hours,
        gpu_hours_left=_sum_known([stage.gpu_hours_left for stage in stages]),
        cpu_hours=cpu_hours,
        cpu_hours_left=_sum_known([stage.cpu_hours_left for stage in stages]),
        cost=_cost([stage.cost for stage in stages]),
        cost_left=_cost([stage.cost_left for stage in stages if stage.cost is not None]),
        spent=spent_on(now) or None,
        max_cost=read_budget(now).max_cost,
        goodput=accepted / hours if hours and accepted else None,
        goodput_per="GPU-hour" if gpu_hours else "CPU-hour",
        cluster=_cluster_status(cluster) if cluster.launched else None,
        bad_nodes={bad.node: plain(bad.reason) for bad in jobs.bad_nodes()},
        damaged=now.damaged,
        missing=now.missing,
        closing=closing_lines(now, complete) if finished else [],
        no_rows=no_rows(now, complete) if finished else "",
    )
    status.gpu_time = gpu_time(cluster.allocations, complete, [stage.name for stage in now.plan.stages if stage.role])
    status.next = _next_step(status)
    return status


def exit_code(status: RunStatus) -> int:
    """For scripts: 0 everything is finished, 1 shards failed and nothing is running, 3 no row came out, 4 it is unfinished."""
    if status.finished:
        return NO_ROWS if status.no_rows else FINISHED
    return FAILED if not status.live and any(stage.failed for stage in status.stages) else UNFINISHED


def _is_live(run: Snapshot, cluster: ClusterState, stages: list[StageStatus]) -> bool:
    """Whether a worker is running or will be. The job that builds the datasets makes no shard, so it does not count.

    Between two shards only the launch itself has a file that says so.
    """
    return any(element.live for element in cluster.elements.values()) or any(stage.running for stage in stages) or is_at_work(run)


def _eta(stages: list[StageStatus]) -> float | None:
    """All the work that is left, over all workers; not before any stage's own end."""
    left, workers = _sum_known([stage.seconds_left for stage in stages]), sum(stage.workers for stage in stages)
    if left is None or not (left and workers):
        return None
    return max([left / workers, *(stage.eta_seconds for stage in stages if stage.eta_seconds is not None)])


def _sum_known(values: list[float | None]) -> float | None:
    """The sum; None if a part of it is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _cost(values: list[float | None]) -> float | None:
    """The sum over the stages that have a price; None if none has."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _cluster_status(cluster: ClusterState) -> ClusterStatus:
    build = cluster.finish.words if cluster.finish and cluster.finish.state != "unknown" else ""
    return ClusterStatus(
        site=cluster.site,
        answered=cluster.answered,
        note=plain(cluster.note),
        running=cluster.count("running"),
        queued=cluster.count("queued"),
        queued_why=cluster.reasons(),
        nodes=cluster.nodes(),
        build=f"job {cluster.finish.job} {build}" if cluster.finish and build else "",
        build_state=cluster.finish.state if cluster.finish else "",
    )


def _next_step(status: RunStatus) -> str:
    again = f"shardmill launch {status.pipeline} --run {status.run}"
    if status.cluster is not None:
        again += f" --site {quote(status.cluster.site)}"
    failed = any(stage.failed for stage in status.stages)
    if status.finished and status.live:
        return f"every shard is finished, the datasets are being built; to watch: shardmill status {status.run} --watch"
    if status.no_rows:
        return status.no_rows
    datasets = Path(status.run) / "datasets"
    if status.finished and datasets.exists():
        return f"everything is finished; the datasets are in {datasets}"
    if status.finished:
        return f"every shard is finished; to build the datasets: shardmill build {status.run}"
    if status.live:
        why = f"; what failed: shardmill failures {status.run}" if failed else ""
        stop = f"; to stop: shardmill cancel {status.run}" if status.cluster is not None else ""
        left = f"; to submit again what ended jobs have left: {again}" if any(stage.open for stage in status.stages) else ""
        return f"running; to watch: shardmill status {status.run} --watch{stop}{why}{left}"
    if failed:
        retry = f"shardmill retry {status.run}" if status.cluster is not None else again
        return f"see what failed: shardmill failures {status.run}; fix the cause, then: {retry}"
    if status.cluster is not None and not status.cluster.answered:
        return f"see on a login node whether jobs are in the queue; if not: {again}"
    return f"to continue: {again}"
