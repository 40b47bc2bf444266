"""What a whole run will take, told from the shards that are finished: GPU-hours, wall time, disk. Nothing is assumed silently."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.launch.cluster_plan import default_group
from shardmill.launch.rates import Rate, expected_rows, stage_rates, typical_shard
from shardmill.launch.site import Site
from shardmill.launch.tasks import needed_shards
from shardmill.shards.run_folder import RunFolder
from shardmill.standalone import StopFlag, clock, run_and_tell
from shardmill.worker import ModelPool

GOOD_MINUTES = (10, 30)
"""A shard that takes so long is small enough to lose and large enough to load a model for."""


@dataclass
class StageEstimate:
    """One stage of the whole run; hours are of work for one worker, `gpu_hours` what the cluster will count for it."""

    stage: str
    measured_shards: int
    rows: int
    worker_hours: float
    worker_hours_low: float
    worker_hours_high: float
    workers_per_node: int
    gpus_per_worker: int
    gpu_hours: float
    minutes_per_shard: float
    minutes_per_element: float
    bytes: int


@dataclass
class Estimate:
    """The whole run. `hours` is the wall time on `nodes` nodes at once; `unmeasured` stages are in no figure."""

    run: str
    shards: int
    nodes: int
    hours: float
    gpu_hours: float
    worker_hours: float
    bytes: int
    stages: list[StageEstimate]
    unmeasured: list[str]
    measured_on: list[str]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def probe(run: RunFolder) -> list[str]:
    """Run one typical shard through the stages that no shard has finished yet, in this process; returns these stages."""
    missing = [stage for stage in run.stages if stage not in stage_rates(run)]
    shard = typical_shard(run)
    if not missing or shard is None:
        return []
    models: ModelPool = {}
    stop = StopFlag()
    ran = []
    for stage in run.stages:
        if not run.is_complete(stage, shard):
            run_and_tell(run, stage, shard, models, stop)
            ran.append(stage)
    return ran


def estimate(run: RunFolder, site: Site | None, rates: Mapping[str, Rate], max_parallel: int | None) -> Estimate:
    """The estimate for the whole run on nodes of `site`; without one, for one worker on this machine."""
    shards = needed_shards(run)
    rows = expected_rows(run, dict(rates), shards)
    group = min(default_group(run, site), shards) if site else 1
    elements = -(-shards // group)
    most = (max_parallel or site.max_parallel) if site else None
    nodes = min(most or elements, elements)
    stages = [_stage(run, site, stage, rates[stage], rows[stage], shards, group) for stage in run.stages if stage in rates]
    made = Estimate(
        run=str(run.path),
        shards=shards,
        nodes=nodes if site else 1,
        hours=_wall_hours(run, stages, elements, nodes, bool(site)),
        gpu_hours=sum(stage.gpu_hours for stage in stages),
        worker_hours=sum(stage.worker_hours for stage in stages),
        bytes=sum(stage.bytes for stage in stages),
        stages=stages,
        unmeasured=[stage for stage in run.stages if stage not in rates],
        measured_on=sorted({host for rate in rates.values() for host in rate.hosts}),
    )
    made.notes = list(_notes(run, site, made, group))
    return made


def _stage(run: RunFolder, site: Site | None, stage: str, rate: Rate, rows: int, shards: int, group: int) -> StageEstimate:
    planned = run.stage(stage)
    resources = site.resources(planned) if site else planned.resources
    workers = min(site.workers_per_node(resources), group) if site else 1
    shard_hours = rate.seconds_per_row * rows / shards / 3600
    turns = -(-group // workers)
    full, rest = divmod(shards, group)
    element_hours = shard_hours * turns
    held = (
        full * element_hours + (-(-rest // workers)) * shard_hours
    )  # a node is held with all its workers until its last is done
    return StageEstimate(
        stage=stage,
        measured_shards=rate.shards,
        rows=rows,
        worker_hours=rate.seconds_per_row * rows / 3600,
        worker_hours_low=rate.fast * rows / 3600,
        worker_hours_high=rate.slow * rows / 3600,
        workers_per_node=workers,
        gpus_per_worker=resources.gpus_per_worker,
        gpu_hours=held * workers * resources.gpus_per_worker,
        minutes_per_shard=shard_hours * 60,
        minutes_per_element=element_hours * 60,
        bytes=round(rate.bytes_per_row * rows),
    )


def _wall_hours(run: RunFolder, stages: list[StageEstimate], elements: int, nodes: int, cluster: bool) -> float:
    """All node-hours over the nodes, and never less than one element takes along the longest path through the stages."""
    hours = {stage.stage: stage.minutes_per_element / 60 for stage in stages}
    path: dict[str, float] = {}
    for planned in run.plan.stages:
        path[planned.name] = path.get(planned.after, 0.0) + hours.get(planned.name, 0.0)
    if not cluster:
        return sum(stage.worker_hours for stage in stages)
    return max(sum(hours.values()) * elements / nodes, max(path.values(), default=0.0))


def _notes(run: RunFolder, site: Site | None, made: Estimate, group: int) -> list[str]:
    notes = []
    if made.unmeasured:
        notes.append(f"not measured yet, and in no figure: {', '.join(made.unmeasured)}")
    if any(stage.measured_shards == 1 for stage in made.stages):
        notes.append("some stages are measured on one shard: how much shards differ is not known")
    models = [stage for stage in made.stages if run.stage(stage.stage).model]
    slowest = max(models, key=lambda stage: stage.minutes_per_shard, default=None)
    if (
        slowest is not None
        and slowest.worker_hours * 60 > GOOD_MINUTES[0]
        and not GOOD_MINUTES[0] <= slowest.minutes_per_shard <= GOOD_MINUTES[1]
    ):
        rows = run.plan.shards[0][1] - run.plan.shards[0][0]
        better = max(1, round(rows * sum(GOOD_MINUTES) / 2 / max(slowest.minutes_per_shard, 1e-6)))
        if min(better, run.plan.input.rows) != rows:
            notes.append(
                f"a shard of {slowest.stage} takes {slowest.minutes_per_shard:.1f} minutes, {GOOD_MINUTES[0]} to "
                f"{GOOD_MINUTES[1]} are best: shardmill replan {run.path} --rows-per-shard {min(better, run.plan.input.rows)}"
            )
    for stage in made.stages if site else []:
        limit = (site.resources(run.stage(stage.stage)) if site else run.stage(stage.stage).resources).minutes
        if stage.minutes_per_shard > limit:
            notes.append(
                f"a shard of {stage.stage} takes longer than its {limit:g} minutes: its jobs will be requeued and go on; "
                f"better give it more in the site file"
            )
    free = shutil.disk_usage(run.path).free
    if made.bytes > free:
        notes.append(f"the run needs {_size(made.bytes)} more and {run.path} has {_size(free)} left")
    measured = max((stage.measured_shards for stage in made.stages), default=0)
    notes.append(f"measured on {measured} shards on {', '.join(made.measured_on) or 'no machine'}; other machines differ")
    return notes


def render(made: Estimate) -> Group:
    """The estimate for a terminal."""
    table = Table(title=f"{made.run}: {made.shards:,} shards", title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "rows in", "work h", "low-high", "GPU h", "a shard", "disk"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in made.stages:
        known = stage.measured_shards > 1
        table.add_row(
            stage.stage,
            f"{stage.rows:,}",
            _hours(stage.worker_hours),
            f"{_hours(stage.worker_hours_low)}-{_hours(stage.worker_hours_high)}" if known else "?",
            _hours(stage.gpu_hours),
            clock(stage.minutes_per_shard * 60),
            _size(stage.bytes),
        )
    total = (
        f"{_hours(made.gpu_hours)} GPU-hours, {_hours(made.worker_hours)} worker-hours, {_size(made.bytes)} of disk; "
        f"about {clock(made.hours * 3600)} on {made.nodes} {'node' if made.nodes == 1 else 'nodes'} at once"
    )
    return Group(table, Text(total, style="bold"), *(Text(f"note: {note}") for note in made.notes))


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
