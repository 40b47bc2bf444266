"""Which rows two runs over one input have in common, and how they differ. Both are read once, a shard of each at a time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from shardmill.compare.model import CellDifference, RowDifference, StageRows
from shardmill.core.seeding import seed_of
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.trace import ACCEPTED, REJECTED, StageOutcome, explain

MAX_EXAMPLES = 5
KEYS = ("row_id", "sub_id")
Shards = Mapping[str, Sequence[int]]


def compare_stage(
    a: RunFolder, b: RunFolder, stage: str, shards_a: Shards, shards_b: Shards, rows: int, seed: int
) -> tuple[StageRows, list[int]]:
    """Compare the rows of a stage that both runs have.

    Returns:
        The counts, and the row_ids of a sample of at most `rows` rows that differ.
    """
    columns = sorted(_own_columns(a, stage) & _own_columns(b, stage))
    found = StageRows(stage=stage, both=0, only_a=0, only_b=0, differ=0, columns={}, examples_a=[], examples_b=[], not_compared=0)
    by_column: Counter[str] = Counter()
    drawn: list[tuple[int, int]] = []
    for window in _windows(a, b, stage, shards_a, shards_b):
        if window.parts is None:
            found.not_compared += window.end - window.start
            continue
        sides = [_keyed(part, columns) for part in window.parts]
        ids = [set(side["row_id"].to_list()) for side in sides]
        only_a, only_b = sorted(ids[0] - ids[1]), sorted(ids[1] - ids[0])
        differing = _differing(sides[0], sides[1], columns)
        unlike = {row_id for each in differing.values() for row_id in each} & ids[0] & ids[1]
        found.both += len(ids[0] & ids[1])
        found.only_a += len(only_a)
        found.only_b += len(only_b)
        found.differ += len(unlike)
        by_column.update({name: len(each & unlike) for name, each in differing.items() if name in columns})
        found.examples_a += only_a[: MAX_EXAMPLES - len(found.examples_a)]
        found.examples_b += only_b[: MAX_EXAMPLES - len(found.examples_b)]
        drawn = first_drawn([*(row_id for _, row_id in drawn), *only_a, *only_b, *unlike], rows, seed)
    found.columns = {name: by_column[name] for name in columns if by_column[name]}
    return found, [row_id for _, row_id in drawn]


def first_drawn(row_ids: Iterable[int], rows: int, seed: int) -> list[tuple[int, int]]:
    """The `rows` row_ids with the lowest draws, as (draw, row_id). A row's draw is the same in every stage."""
    return heapq.nsmallest(rows, ((seed_of(seed, "compare", row_id), row_id) for row_id in set(row_ids)))


@dataclass(frozen=True)
class Window:
    """A range of rows that lies in one shard of each run; without parts if one of them is not finished."""

    start: int
    end: int
    parts: tuple[pl.DataFrame, pl.DataFrame] | None


@dataclass
class _Reader:
    """Reads the part that a row is in. The last part is kept, since the next window may lie in it too."""

    run: RunFolder
    stage: str
    finished: Sequence[int]
    shard: int = -1
    part: pl.DataFrame = field(default_factory=pl.DataFrame)

    def rows(self, start: int, end: int) -> pl.DataFrame | None:
        shard = self.run.plan.shard_of(start)
        if shard not in self.finished:
            return None
        if shard != self.shard:
            self.shard, self.part = shard, self.run.read_part(self.stage, shard)[0]
        return self.part.filter(pl.col("row_id").is_between(start, end, closed="left"))


def _windows(a: RunFolder, b: RunFolder, stage: str, shards_a: Shards, shards_b: Shards) -> Iterator[Window]:
    """The ranges of rows between the ends of the shards of either run, in order."""
    readers = _Reader(a, stage, shards_a.get(stage, ())), _Reader(b, stage, shards_b.get(stage, ()))
    start = 0
    for end in sorted({end for run in (a, b) for _, end in run.plan.shards}):
        first, second = (reader.rows(start, end) for reader in readers)
        yield Window(start, end, None if first is None or second is None else (first, second))
        start = end


def _own_columns(run: RunFolder, stage: str) -> set[str]:
    columns = run.plan.input.columns if stage == INGEST else run.stage(stage).adds
    return set(columns) - set(KEYS)


def _keyed(part: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    sub_id = pl.col("sub_id") if "sub_id" in part.columns else pl.lit(-1, pl.Int64).alias("sub_id")
    return part.select("row_id", sub_id.fill_null(-1), *columns)


def _differing(first: pl.DataFrame, second: pl.DataFrame, columns: Sequence[str]) -> dict[str, set[int]]:
    """The row_ids of lines that differ, by column; under "" those of lines that only one side has."""
    if first.schema != second.schema:  # a column has another kind in one of the runs
        first, second = (side.with_columns(pl.col(columns).cast(pl.String)) for side in (first, second))
    pairs = first.join(second, on=list(KEYS), suffix=" of b")
    found = {name: set(pairs.filter(pl.col(name).ne_missing(pl.col(f"{name} of b")))["row_id"].to_list()) for name in columns}
    alone = [one.join(other, on=list(KEYS), how="anti")["row_id"].to_list() for one, other in ((first, second), (second, first))]
    return {**found, "": {row_id for each in alone for row_id in each}}


def differences_of(a: RunFolder, b: RunFolder, row_id: int) -> RowDifference:
    """Everything in which the traces of a row differ, stage by stage."""
    traces = [{outcome.stage: outcome for outcome in explain(run, row_id)} for run in (a, b)]
    cells: list[CellDifference] = []
    for stage in traces[0]:
        if stage in traces[1]:
            cells += _outcome_differences(traces[0][stage], traces[1][stage])
    return RowDifference(row_id=row_id, cells=cells)


def _outcome_differences(first: StageOutcome, second: StageOutcome) -> Iterator[CellDifference]:
    stage = first.stage
    if _describe(first) != _describe(second):
        yield CellDifference(stage=stage, sub_id=None, column="outcome", a=_describe(first), b=_describe(second))
    if first.outcome != ACCEPTED or second.outcome != ACCEPTED:
        return
    lines = [{line.get("sub_id"): line for line in each.rows} for each in (first, second)]
    for sub_id in dict.fromkeys([*lines[0], *lines[1]]):
        one, other = lines[0].get(sub_id), lines[1].get(sub_id)
        if one is None or other is None:
            yield CellDifference(stage=stage, sub_id=sub_id, column="line", a=one, b=other)
            continue
        for name in one:
            if name in other and one[name] != other[name]:
                yield CellDifference(stage=stage, sub_id=sub_id, column=name, a=one[name], b=other[name])


def _describe(found: StageOutcome) -> str:
    if found.outcome != REJECTED:
        return found.outcome
    return f"rejected: {'; '.join(dict.fromkeys(str(each.get('reason')) for each in found.rows))}"
