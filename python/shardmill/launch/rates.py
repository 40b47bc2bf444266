"""What the finished shards of a run took: seconds and bytes per row of each stage, and how many rows went on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from shardmill.launch.tasks import Task, complete_manifest
from shardmill.shards.manifest import Manifest
from shardmill.shards.run_folder import INGEST, RunFolder


@dataclass(frozen=True)
class Rate:
    """One stage, measured on `shards` finished shards with `rows` lines of input.

    `slow` and `fast` are seconds per row of the slowest and the fastest shard, `passed` lines out per line in, `hosts` where.
    """

    shards: int
    rows: int
    seconds_per_row: float
    fast: float
    slow: float
    bytes_per_row: float
    passed: float
    hosts: tuple[str, ...]


def stage_rates(run: RunFolder) -> dict[str, Rate]:
    """The rate of each stage that has finished a shard with rows. Rows are lines of the part that the stage reads."""
    rates = {}
    for stage in run.stages:
        source = run.after(stage)
        assert source is not None
        pairs = [
            (above.lines_out, made)
            for shard in range(run.num_shards)
            if (made := complete_manifest(run, Task(stage, shard))) is not None
            and (above := run.manifest(source, shard)) is not None
            and above.lines_out
        ]
        if pairs:
            rates[stage] = _rate(pairs)
    return rates


def _rate(pairs: list[tuple[int, Manifest]]) -> Rate:
    rows = sum(lines for lines, _ in pairs)
    each = sorted(made.seconds / lines for lines, made in pairs)
    return Rate(
        shards=len(pairs),
        rows=rows,
        seconds_per_row=sum(made.seconds for _, made in pairs) / rows,
        fast=each[0],
        slow=each[-1],
        bytes_per_row=sum(made.part.bytes + made.rejects.bytes for _, made in pairs) / rows,
        passed=sum(made.lines_out for _, made in pairs) / rows,
        hosts=tuple(sorted({made.host for _, made in pairs})),
    )


def expected_rows(run: RunFolder, rates: dict[str, Rate], shards: int) -> dict[str, int]:
    """How many lines each stage will read of the first `shards` shards: those of ingest, times what each stage passes on."""
    ingested = [run.manifest(INGEST, shard) for shard in range(shards)]
    flow: dict[str, float] = {INGEST: sum(manifest.lines_out for manifest in ingested if manifest is not None)}
    rows = {}
    for stage in run.plan.stages:
        rows[stage.name] = round(flow[stage.after])
        flow[stage.name] = flow[stage.after] * (rates[stage.name].passed if stage.name in rates else 1.0)
    return rows


def typical_shard(run: RunFolder) -> int | None:
    """The unfinished shard whose number of input rows is the median: the one to measure."""
    rows = {
        shard: manifest.lines_out
        for shard in range(run.num_shards)
        if (manifest := run.manifest(INGEST, shard)) is not None
        and not all(run.is_complete(stage, shard) for stage in run.stages)
    }
    if not rows:
        return None
    middle = median(rows.values())
    return min(rows, key=lambda shard: (abs(rows[shard] - middle), shard))
