"""What the finished shards of a run took: seconds and bytes per row of each stage, and how many rows came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from shardmill.store.finished import FinishedShard
from shardmill.store.manifest import totals
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, shards_for

WHOLE = 0.8
"""A shard whose last attempt made fewer of a typical shard's requests per row than this was not done by that attempt alone."""

MIN_LOADING_SECONDS = 1.0
"""A model that loads in less counts as work."""


@dataclass(frozen=True)
class StageRate:
    """One stage, timed on `shards` finished shards with `rows` rows, which are the lines of the part that the stage reads.

    seconds_per_row: of one worker's work, including the loading of the model unless `startup` is known.
    startup: seconds that the first shard of a worker takes on top, since it loads the model; None if that is not known.
    fast, typical, slow: seconds per row of the fastest, the median and the slowest shard.
    bytes_per_row: of part and rejects. passed, kept: lines, and distinct rows, that come out for each row in.
    hosts: the machines that were measured. usage: requests, tokens and their like for each row in.
    """

    shards: int
    rows: int
    seconds_per_row: float
    startup: float | None
    fast: float
    typical: float
    slow: float
    bytes_per_row: float
    passed: float
    kept: float
    hosts: tuple[str, ...]
    usage: dict[str, float] = field(default_factory=dict)

    @property
    def spread(self) -> float | None:
        """The slowest shard by the median; None when a single shard was timed."""
        return self.slow / self.typical if self.shards > 1 and self.typical else None


def stage_rates(run: RunFolder) -> dict[str, StageRate]:
    """The rate of each stage that has finished a shard with rows, and timed one."""
    finished: dict[str, list[FinishedShard]] = {stage: [] for stage in run.stages}
    for (stage, _), made in run.finished().items():
        if stage != INGEST and made.rows_in:
            finished[stage].append(made)
    rates = {stage: _rate(made) for stage, made in finished.items()}
    return {stage: rate for stage, rate in rates.items() if rate is not None}


def _rate(finished: Sequence[FinishedShard]) -> StageRate | None:
    timed = _timed(finished)
    if not timed:
        return None
    startup, loading = _loading(timed)
    seconds = {made.shard: max(made.seconds - loading.get(made.shard, 0.0), 0.0) for made in timed}
    each = [seconds[made.shard] / made.rows_in for made in timed]
    rows = sum(made.rows_in for made in finished)
    return StageRate(
        shards=len(timed),
        rows=sum(made.rows_in for made in timed),
        seconds_per_row=sum(seconds.values()) / sum(made.rows_in for made in timed),
        startup=startup,
        fast=min(each),
        typical=median(each),
        slow=max(each),
        bytes_per_row=sum(made.bytes for made in finished) / rows,
        passed=sum(made.lines_out for made in finished) / rows,
        kept=sum(made.rows_out for made in finished) / rows,
        hosts=tuple(sorted({made.host for made in timed})),
        usage={name: value / rows for name, value in totals(finished)["usage"].items() if value},
    )


def _timed(finished: Sequence[FinishedShard]) -> list[FinishedShard]:
    """The shards whose `seconds` are those of all their rows.

    They are the last attempt's: of a shard that was interrupted, shared with another worker or opened again for its rejects,
    the other rows' work is not in them.
    """
    return [made for made in finished if made.round == 0 and made.elsewhere <= (1 - WHOLE) * made.rows_in]


def _loading(timed: Sequence[FinishedShard]) -> tuple[float | None, dict[int, float]]:
    """Seconds that a worker takes to load its model, and those of each shard: as measured, or by how long first shards took."""
    measured = {made.shard: made.loading for made in timed if made.loading >= MIN_LOADING_SECONDS}
    if measured:
        return median(measured.values()), measured
    startup, firsts = _startup(timed)
    return startup, dict.fromkeys(firsts, startup or 0.0)


def _startup(timed: Sequence[FinishedShard]) -> tuple[float | None, set[int]]:
    """Seconds that a worker's first shard takes on top of what its later ones take per row, and which shards were first ones.

    On a cluster the shards of a worker are those of its SLURM task. Elsewhere manifests do not say.
    """
    workers: dict[tuple[str, str], list[FinishedShard]] = defaultdict(list)
    for made in timed:
        if made.element:
            workers[made.element, made.worker].append(made)
    extra, firsts = [], set()
    for done in workers.values():
        first, *later = sorted(done, key=lambda made: made.begun)
        firsts.add(first.shard)
        if later:
            rate = sum(made.seconds for made in later) / sum(made.rows_in for made in later)
            extra.append(first.seconds - rate * first.rows_in)
    return (max(0.0, median(extra)) if extra else None), firsts


def expected_rows(run: RunFolder, rates: Mapping[str, StageRate], shards: int) -> dict[str, int]:
    """How many rows each stage will read of the first `shards` shards: those of ingest, times what each stage passes on.

    A stage that was not measured is taken to pass all of them on.
    """
    flow = {INGEST: float(sum(_ingested(run, shard) for shard in range(shards)))}
    for stage in run.plan.stages:
        flow[stage.name] = flow[stage.after] * (rates[stage.name].passed if stage.name in rates else 1.0)
    return {stage.name: round(flow[stage.after]) for stage in run.plan.stages}


def shard_minutes(run: RunFolder, rates: Mapping[str, StageRate]) -> dict[str, float]:
    """The minutes that a worker takes for a shard of each measured stage."""
    rows = expected_rows(run, rates, run.num_shards)
    return {stage: rate.seconds_per_row * rows[stage] / run.num_shards / 60 for stage, rate in rates.items()}


def expected_shards(run: RunFolder, rates: Mapping[str, StageRate]) -> int:
    """How many shards, from shard 0 on, give the run's `target_rows`, by its manifests and for other shards by the rates."""
    if run.plan.target_rows is None:
        return run.num_shards
    complete = run.finished()
    kept = {leaf: _kept(run, rates, leaf) for leaf in run.leaves()}

    def rows_out(task: Task) -> int | None:
        if task in complete:
            return complete[task].rows_out
        share = kept[task.stage]
        return None if share is None else round(_ingested(run, task.shard) * share)

    return shards_for(run.plan.target_rows, run.num_shards, run.leaves(), rows_out)


def _kept(run: RunFolder, rates: Mapping[str, StageRate], leaf: str) -> float | None:
    """Distinct rows that come out of a last stage for each row of ingest; None while a stage on the way is not measured."""
    if leaf == INGEST:
        return 1.0
    if leaf not in rates:
        return None
    share, stage = rates[leaf].kept, run.stage(leaf).after
    while stage != INGEST:
        if stage not in rates:
            return None
        share, stage = share * rates[stage].passed, run.stage(stage).after
    return share


def _ingested(run: RunFolder, shard: int) -> int:
    """The rows that ingest gave a shard; before that, those that the plan gives it."""
    manifest = run.manifest(INGEST, shard)
    start, end = run.plan.shards[shard]
    return end - start if manifest is None else manifest.lines_out


def typical_shard(run: RunFolder) -> int | None:
    """The shard to measure: of the unfinished ones the one whose number of rows is nearest to their median.

    One that an earlier attempt has begun is used only if there is no other, since its manifest would show too few seconds.
    """
    complete = run.finished()
    rows = {
        shard: complete[INGEST, shard].lines_out
        for shard in range(run.num_shards)
        if (INGEST, shard) in complete and any((stage, shard) not in complete for stage in run.stages)
    }
    begun = {int(path.name.split("-")[1]) for stage in run.stages for path in run.folder(stage).glob("part-*.journal")}
    rows = {shard: count for shard, count in rows.items() if shard not in begun} or rows
    if not rows:
        return None
    middle = median(rows.values())
    return min(rows, key=lambda shard: (abs(rows[shard] - middle), shard))
