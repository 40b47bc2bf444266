"""What a whole run will take, by its finished shards: GPU-hours, wall time, disk. Every assumption is in the notes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any

from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.launch import slurm
from shardmill.launch.cluster_plan import default_group, each_stage_alone, phase_jobs, phase_resources, workers_per_node
from shardmill.launch.elements import groups
from shardmill.launch.phases import Phase, phases_of
from shardmill.launch.site import Site
from shardmill.monitor.rates import StageRate, expected_rows, expected_shards, shard_minutes, stage_rates, typical_shard
from shardmill.store.jobs import JobsFolder
from shardmill.store.manifest import summary
from shardmill.store.plan import Resources
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.spending import read_budget
from shardmill.util.errors import UserError
from shardmill.util.exits import stop_signals
from shardmill.util.progress import Progress, ProgressLine, clock
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

GOOD_MINUTES = (10, 30)
"""A shard that takes this long is small enough to lose and large enough to load a model for."""
FIRST_SHARE = 0.02
MIN_SECONDS = 30.0


@dataclass
class StageEstimate:
    """One stage of the whole run.

    worker_hours: of work for one worker; `_low` and `_high` if all shards were like the fastest or the slowest that was timed,
    None if only one was. node_hours: allocated, each node until the last of its shards is done. gpu_hours: allocated, and
    `gpu_hours_busy` in use. hours_alone: wall time with all inputs there. minutes_limit: of an element on the site.
    prompt_tokens, completion_tokens: of all requests. cost: at the model file's prices, None without any.
    """

    stage: str
    measured_shards: int
    measured_rows: int
    rows: int
    worker_hours: float
    worker_hours_low: float | None
    worker_hours_high: float | None
    spread: float | None
    workers_per_node: int
    gpus_per_worker: int
    node_hours: float
    gpu_hours: float
    gpu_hours_busy: float
    hours_alone: float
    minutes_per_shard: float
    minutes_per_element: float
    minutes_limit: int | None
    bytes: int
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    cost: float | None = None


@dataclass
class Estimate:
    """The whole run. `hours` is the wall time on `nodes` nodes at once, of the `usable_nodes` that the site has now (None where
    SLURM cannot be asked); `unmeasured` stages are in no figure.

    `_low` and `_high` are None where a stage was timed on one shard only. `bytes_left` are those not yet on disk.
    """

    run: str
    site: str | None
    shards: int
    shards_per_element: int
    elements: int
    nodes: int
    hours: float
    hours_low: float | None
    hours_high: float | None
    gpu_hours: float
    gpu_hours_low: float | None
    gpu_hours_high: float | None
    node_hours: float
    worker_hours: float
    bytes: int
    bytes_left: int
    cost: float | None
    stages: list[StageEstimate]
    unmeasured: list[str]
    measured_on: list[str]
    usable_nodes: int | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def probe(run: RunFolder, shard: int | None = None, report: Callable[[str], None] | None = None) -> list[str]:
    """Run one shard through all stages in this process, unless every stage has been timed. A launch continues from the results.

    Args:
        run: The run.
        shard: Which shard; a typical one if not given.
        report: Gets lines of text, which go to standard error if it is not given.

    Returns:
        The stages that were run: none from the first on that learns from shards which are not there yet.
    """
    shard = typical_shard(run) if shard is None else shard
    if shard is None or stage_rates(run).keys() == set(run.stages):
        return []
    say = report or (lambda line: echo(line, err=True))
    models: ModelPool = {}
    ran = [stage for stage in run.stages if not run.is_complete(stage, shard)]
    with stop_signals() as stop:
        for place, stage in enumerate(ran):
            source = run.after(stage) or INGEST
            if any(run.manifest(source, each) is None for each in run.needed_by(stage, shard)):
                say(f"{stage} learns from many shards: estimate again when {source} has finished them")
                return ran[:place]
            label = f"{stage} shard {shard}"
            made = run_shard(run, stage, shard, models=models, report=_FirstEstimate(label, say), should_stop=stop)
            say(f"{label}: {summary(made.rows_in, made.rows_out, made.reasons, made.lines_out)} in {clock(made.seconds)}")
    return ran


class _FirstEstimate:
    """A progress line that prints once, after the first rows, how long a probed shard will take."""

    def __init__(self, label: str, say: Callable[[str], None]):
        self._label, self._say, self._printed = label, say, False
        self._line = ProgressLine(label)
        self._first: tuple[float, int] | None = None

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        since, rows = self._first = self._first or (now, progress.rows)  # by the first answer the model is loaded
        fresh = progress.rows - rows
        if not self._printed and fresh and fresh >= FIRST_SHARE * progress.total:
            self._printed = True
            seconds = (now - since) / fresh * (progress.total - progress.rows)
            if seconds >= MIN_SECONDS:
                self._say(f"{self._label}: about {clock(seconds)} more; if stopped, finished rows are kept")
        self._line(progress)


@dataclass(frozen=True)
class _Layout:
    """How the shards of a run are grouped: `elements` has the number of shards of each.

    `usable` are the nodes that the site has now, if that is known, and `limit` is the most nodes at once.
    """

    run: RunFolder
    site: Site | None
    shards: int
    elements: list[int]
    limit: int | None
    phases: Sequence[Phase]
    usable: int | None = None

    def phase(self, stage: str) -> Phase:
        """The phase of a stage."""
        return next(phase for phase in self.phases if stage in phase)

    def resources(self, stage: str) -> Resources:
        """What the workers have that do a stage."""
        return phase_resources(self.run, self.site, self.phase(stage)) if self.site else self.run.stage(stage).resources

    def workers(self, stage: str) -> int:
        """Workers of a stage on one node: as many as fit, but no more than an element has shards."""
        return min(workers_per_node(self.run, self.site, self.phase(stage)), max(self.elements)) if self.site else 1

    def startup(self, stage: str, rate: StageRate) -> float:
        """Seconds that a worker takes to load the model of a stage: none where an earlier stage of the phase has loaded it."""
        first = next((each for each in self.phase(stage) if self.run.stage(each).role), stage)
        return rate.startup or 0.0 if first == stage else 0.0

    def seconds(self, stage: str, rate: StageRate, per_row: float, rows: float) -> list[float]:
        """How long each element takes: its shards in turns over the workers, each of which loads its model once."""
        shard, workers = per_row * rows / self.shards, self.workers(stage)
        return [self.startup(stage, rate) + -(-count // workers) * shard for count in self.elements]


def estimate(
    run: RunFolder,
    site: Site | None,
    rates: Mapping[str, StageRate],
    max_parallel: int | None,
    group: int | None = None,
    phases: Sequence[Phase] | None = None,
) -> Estimate:
    """The estimate for the whole run on nodes of `site`; without one, for one worker on this machine.

    `max_parallel`, `group` (shards of an element) and `phases` are those of `shardmill launch`, with the same defaults.
    """
    shards = expected_shards(run, rates)
    rows = expected_rows(run, rates, shards)
    layout = _layout(run, site, shards, max_parallel, group, phases or _phases(run, site, rates))
    stages = [_stage(layout, stage, rates[stage], rows[stage]) for stage in run.stages if stage in rates]
    hours, nodes, gpu_hours = _whole(layout, rates, rows, lambda rate: rate.seconds_per_row)
    low: tuple[float | None, ...] = (None, None, None)
    high = low
    if stages and all(rate.shards > 1 for rate in rates.values()):
        low, high = _whole(layout, rates, rows, lambda rate: rate.fast), _whole(layout, rates, rows, lambda rate: rate.slow)
    there = sum(made.bytes for (stage, _), made in run.finished().items() if stage != INGEST)
    needed = sum(stage.bytes for stage in stages)
    costs = [stage.cost for stage in stages if stage.cost is not None]
    made = Estimate(
        run=str(run.path), site=site.name if site else None,
        shards=shards, shards_per_element=layout.elements[0], elements=len(layout.elements), nodes=nodes,
        hours=hours, hours_low=low[0], hours_high=high[0],
        gpu_hours=gpu_hours, gpu_hours_low=low[2], gpu_hours_high=high[2],
        node_hours=sum(stage.node_hours for stage in stages),
        worker_hours=sum(stage.worker_hours for stage in stages),
        bytes=needed, bytes_left=max(0, needed - there),
        cost=sum(costs) if costs else None,
        stages=stages,
        unmeasured=[stage for stage in run.stages if stage not in rates],
        measured_on=sorted({host for rate in rates.values() for host in rate.hosts}),
        usable_nodes=layout.usable,
    )  # fmt: skip
    made.notes = list(_notes(run, rates, made))
    return made


def _phases(run: RunFolder, site: Site | None, rates: Mapping[str, StageRate]) -> list[Phase]:
    """The phases of a launch like the last one; of one that is not on a cluster, each stage."""
    by_stage = site is None or each_stage_alone(JobsFolder(run).submissions())
    resources = site.resources if site else lambda stage: stage.resources
    return phases_of(run.plan.stages, resources, shard_minutes(run, rates), by_stage=by_stage)


def _layout(
    run: RunFolder, site: Site | None, shards: int, max_parallel: int | None, group: int | None, phases: Sequence[Phase]
) -> _Layout:
    if site is None:
        return _Layout(run, None, shards, [shards], 1, phases)
    submissions = JobsFolder(run).submissions()
    group = group or (submissions[-1].group if submissions else 0) or default_group(run, site, phases)
    elements = [len(each) for each in groups(shards, group)]
    usable = _usable_nodes(run, site, phases)
    limits = [limit for limit in (max_parallel or site.max_parallel, usable) if limit]
    return _Layout(run, site, shards, elements, min(limits, default=None), phases, usable)


def _usable_nodes(run: RunFolder, site: Site, phases: Sequence[Phase]) -> int | None:
    """The nodes of the phases with GPUs, or of all, that are not down or drained; None where SLURM cannot be asked."""
    on_gpus = [phase for phase in phases if phase_resources(run, site, phase).gpus_per_worker]
    partitions = {phase_jobs(run, site, phase).partition for phase in on_gpus or phases}
    with suppress(UserError):
        if slurm.available():
            return len(set[str]().union(*map(slurm.nodes, partitions))) or None
    return None


def _stage(layout: _Layout, stage: str, rate: StageRate, rows: int) -> StageEstimate:
    resources, workers, price = (
        layout.resources(stage),
        layout.workers(stage),
        read_budget(layout.run).price_of(layout.run.stage(stage)),
    )
    usage = {name: value * rows for name, value in rate.usage.items()}
    seconds = layout.seconds(stage, rate, rate.seconds_per_row, rows)
    loading = layout.startup(stage, rate) * sum(min(workers, shards) for shards in layout.elements)
    hours, low, high = ((per_row * rows + loading) / 3600 for per_row in (rate.seconds_per_row, rate.fast, rate.slow))
    limit = None
    if layout.site:
        own = layout.site.resources(layout.run.stage(stage)).minutes
        jobs = phase_jobs(layout.run, layout.site, layout.phase(stage))
        limit = jobs.time_limit(layout.elements[0], workers, own)
    gpu_hours = sum(seconds) / 3600 * workers * resources.gpus_per_worker
    return StageEstimate(
        stage=stage, measured_shards=rate.shards, measured_rows=rate.rows, rows=rows,
        worker_hours=hours,
        worker_hours_low=low if rate.shards > 1 else None,
        worker_hours_high=high if rate.shards > 1 else None,
        spread=rate.spread,
        workers_per_node=workers, gpus_per_worker=resources.gpus_per_worker,
        node_hours=sum(seconds) / 3600,
        gpu_hours=gpu_hours,
        gpu_hours_busy=hours * resources.gpus_per_worker,
        hours_alone=makespan({stage: INGEST}, {stage: seconds}, layout.limit)[0] / 3600,
        minutes_per_shard=rate.seconds_per_row * rows / layout.shards / 60,
        minutes_per_element=seconds[0] / 60,
        minutes_limit=limit,
        bytes=round(rate.bytes_per_row * rows),
        prompt_tokens=usage.get("prompt_tokens", 0.0), completion_tokens=usage.get("completion_tokens", 0.0),
        cost=price.of(usage, gpu_hours) if price else None,
    )  # fmt: skip


def _whole(
    layout: _Layout, rates: Mapping[str, StageRate], rows: Mapping[str, int], per_row: Callable[[StageRate], float]
) -> tuple[float, int, float]:
    """Wall time in hours, the most nodes at once, and GPU-hours allocated, with the seconds per row that `per_row` picks."""
    seconds: dict[str, list[float]] = {}
    gpu_seconds = 0.0
    for phase in layout.phases:
        each = [layout.seconds(stage, rates[stage], per_row(rates[stage]), rows[stage]) for stage in phase if stage in rates]
        if each:
            seconds[phase[0]] = [sum(times) for times in zip(*each, strict=True)]
            gpus = layout.workers(phase[0]) * layout.resources(phase[0]).gpus_per_worker
            gpu_seconds += sum(seconds[phase[0]]) * gpus
    wall, nodes = makespan(_measured_after(layout, seconds), seconds, layout.limit)
    return wall / 3600, nodes, gpu_seconds / 3600


def _measured_after(layout: _Layout, measured: Collection[str]) -> dict[str, str]:
    """The measured phases by their first stages, each with the last measured phase that it comes after, or ingest."""
    above: dict[str, str] = {INGEST: INGEST}
    order = [INGEST, *(phase[0] for phase in layout.phases)]
    found: dict[str, str] = {}
    for phase in layout.phases:
        sources = [layout.run.stage(stage).after for stage in phase]
        latest = max((above[source] for source in sources if source not in phase), key=order.index)
        if phase[0] in measured:
            found[phase[0]] = latest
        above.update(dict.fromkeys(phase, phase[0] if phase[0] in measured else latest))
    return found


def makespan(after: Mapping[str, str], seconds: Mapping[str, Sequence[float]], limit: int | None) -> tuple[float, int]:
    """Seconds until all elements are through all stages, and the most nodes used at once, `limit` at most.

    Element k of a stage starts when element k of the stage that it reads is done and a node is free, deeper stages first.
    `after` names the stage that each stage reads, in pipeline order; `seconds` has those of each element in each stage.
    """
    order = list(after)
    ready = [
        (-rank, element)
        for rank, stage in enumerate(order)
        if after[stage] not in after
        for element in range(len(seconds[stage]))
    ]
    heapify(ready)
    running: list[tuple[float, int, int]] = []
    now, most = 0.0, 0
    while ready or running:
        while ready and (limit is None or len(running) < limit):
            rank, element = heappop(ready)
            heappush(running, (now + seconds[order[-rank]][element], rank, element))
        most = max(most, len(running))
        now = running[0][0]
        while running and running[0][0] == now:
            _, rank, element = heappop(running)
            for reader, stage in enumerate(order):
                if after[stage] == order[-rank]:
                    heappush(ready, (-reader, element))
    return now, most


def _notes(run: RunFolder, rates: Mapping[str, StageRate], made: Estimate) -> Iterator[str]:
    """What is not known, what to change, and what the figures are based on."""
    if made.unmeasured:
        yield f"not measured yet, and not in any figure: {', '.join(made.unmeasured)}"
    if made.shards < run.num_shards:
        yield f"{made.shards:,} of {run.num_shards:,} shards give the target of {run.plan.target_rows:,} rows"
    if any(stage.measured_shards == 1 for stage in made.stages):
        yield "some stages are measured on one shard only, so how much shards differ is not known"
    if made.usable_nodes is not None and made.nodes == made.usable_nodes < made.elements:
        yield f"{made.site} has {count_of(made.usable_nodes, 'usable node')} now, fewer than the run could use"
    yield from _shard_size(run, made)
    for stage in made.stages:
        if stage.minutes_limit is not None and stage.minutes_per_element > stage.minutes_limit:
            yield (
                f"an element of {stage.stage} takes {clock(stage.minutes_per_element * 60)} and its jobs have "
                f"{clock(stage.minutes_limit * 60)}: they are requeued and continue; better give it more minutes in the site "
                f"file or make the shards smaller"
            )
    free = shutil.disk_usage(run.path).free
    if made.bytes_left > free:
        yield f"the run needs {size(made.bytes_left)} more disk and {run.path} has {size(free)} free"
    if made.stages:
        yield _basis(run, rates, made)


def _shard_size(run: RunFolder, made: Estimate) -> Iterator[str]:
    """How to cut the input, if shards of the slowest model stage are too long, or too short in a run of some length."""
    models = [stage for stage in made.stages if run.stage(stage.stage).model and stage.minutes_per_shard]
    slowest = max(models, key=lambda stage: stage.minutes_per_shard, default=None)
    shortest, longest = GOOD_MINUTES
    if slowest is None or slowest.worker_hours * 60 <= shortest or shortest <= slowest.minutes_per_shard <= longest:
        return
    rows = max(end - start for start, end in run.plan.shards)
    wanted = rows * (shortest + longest) / 2 / slowest.minutes_per_shard
    better = min(max(1, round(float(f"{wanted:.2g}"))), run.plan.input.rows)
    if better != rows:
        yield (
            f"a shard of {slowest.stage} takes {slowest.minutes_per_shard:.1f} minutes, {shortest} to {longest} are best: "
            f"shardmill replan {run.path} --rows-per-shard {better}"
        )


def _basis(run: RunFolder, rates: Mapping[str, StageRate], made: Estimate) -> str:
    shards = [stage.measured_shards for stage in made.stages]
    rows = [stage.measured_rows for stage in made.stages]
    loading = any(rate.startup is None and run.stage(stage).model for stage, rate in rates.items())
    hosts = ", ".join(made.measured_on[:4]) + (" …" if len(made.measured_on) > 4 else "")
    counted = "shard" if max(shards) == 1 else "shards"
    return (
        f"measured on {_between(shards)} {counted} and {_between(rows)} rows per stage, on {hosts}; "
        + "other machines differ; "
        + ("loading the models counts as work, so few rows give too high a figure; " if loading else "")
        + "disk space does not include journals, logs and the datasets"
    )


def _between(counts: Sequence[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}-{max(counts):,}"


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
