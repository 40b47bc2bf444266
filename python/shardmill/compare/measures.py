"""The figures by which two runs are compared: how rows are distributed over categories, and how often objects are named.

A pipeline names its own in its module `compare`; one that has none is measured by the columns that its stages add.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from shardmill.core.registry import pipeline_of, resolve
from shardmill.store.cells import Kind
from shardmill.store.frames import LIST, scan_frame
from shardmill.store.image_columns import image_columns
from shardmill.store.run_folder import RunFolder

MAX_CATEGORIES = 1_000
"""A column with more distinct values than this is not a category: it is not compared, and memory stays small."""
MAX_LABEL = 40
"""A text of more characters is prose, not a category."""
KEYS = ("row_id", "sub_id")


@dataclass(frozen=True)
class Measure:
    """A category, or a list of them, for each line of a stage; null where a line has none."""

    name: str
    stage: str
    category: pl.Expr


@dataclass(frozen=True)
class CompareMeasures:
    """What two runs of a pipeline are compared by, of stages that a run need not have.

    `balances` are distributions over categories; `objects` are list columns, compared by the share of rows that name each item.
    """

    balances: Sequence[Measure] = ()
    objects: Sequence[Measure] = ()


def measures_of(run: RunFolder) -> CompareMeasures:
    """The measures of a run's pipeline, or else those of its columns."""
    measures: CompareMeasures | None = resolve(pipeline_of(run).compare)
    return default_measures(run) if measures is None else measures


def default_measures(run: RunFolder) -> CompareMeasures:
    """Every bool, int, short text and list that a stage adds, found from the plan alone."""
    balances, objects = [], []
    for stage in run.plan.stages:
        images = image_columns(run, stage.name)
        for column, kind in stage.adds.items():
            if column in (*images, *KEYS):
                continue
            if (category := _default_category(column, kind)) is not None:
                balances.append(Measure(f"items of {column}" if kind == "list" else column, stage.name, category))
            if kind == "list":
                objects.append(Measure(column, stage.name, pl.col(column).str.json_decode(LIST)))
    return CompareMeasures(balances, objects)


def _default_category(column: str, kind: Kind) -> pl.Expr | None:
    if kind == "list":
        return list_size(column)
    if kind == "text":
        return pl.when(pl.col(column).str.len_chars() <= MAX_LABEL).then(pl.col(column))
    return as_text(column) if kind in ("bool", "int") else None


def as_text(column: str) -> pl.Expr:
    """The values of a column as categories."""
    return pl.col(column).cast(pl.String)


def entry_fields(column: str, *fields: str) -> pl.Expr:
    """The entries of a json column, a list of objects: the values of these fields, joined to one category for each entry."""
    entries = pl.col(column).str.json_decode(pl.List(pl.Struct(dict.fromkeys(fields, pl.String))))
    words = [pl.element().struct.field(field).fill_null("good" if field == "fault" else "none") for field in fields]
    return entries.list.eval(pl.concat_str(words, separator=" ").str.strip_chars())


def list_size(column: str) -> pl.Expr:
    """How many items a list column has."""
    return pl.col(column).str.json_decode(LIST).list.len().cast(pl.String)


def count_categories(run: RunFolder, shards: Mapping[str, Sequence[int]], measure: Measure) -> Counter[str] | None:
    """How many lines (or entries of lines) of the given shards fall into each category; None for more than MAX_CATEGORIES.

    One shard is in memory at a time.
    """
    total: Counter[str] = Counter()
    for shard in shards.get(measure.stage, ()):
        categories = _read_categories(run, shard, measure)
        if categories.dtype == pl.List:
            categories = categories.explode(keep_nulls=False, empty_as_null=False)
        for category, count in categories.drop_nulls().value_counts().iter_rows():
            total[category] += count
        if len(total) > MAX_CATEGORIES:
            return None
    return total


def count_rows_naming(run: RunFolder, shards: Mapping[str, Sequence[int]], measure: Measure) -> tuple[Counter[str], int]:
    """How many rows name each item of a list column, and how many rows there are."""
    total: Counter[str] = Counter()
    rows = 0
    for shard in shards.get(measure.stage, ()):
        lists = _read_categories(run, shard, measure)
        rows += len(lists)
        for name, count in lists.list.unique().explode(keep_nulls=False, empty_as_null=False).value_counts().iter_rows():
            total[name] += count
    return total, rows


def _read_categories(run: RunFolder, shard: int, measure: Measure) -> pl.Series:
    kinds = run.kinds(measure.stage)
    part = scan_frame(run.files(measure.stage, shard).part, kinds, run.plan.part_format)
    return part.select(measure.category.alias("category")).collect()["category"]
