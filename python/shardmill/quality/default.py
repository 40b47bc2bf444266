"""The report of a pipeline that brings no quality of its own: what can be said of any columns from the plan alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from shardmill.pages.cards import TextView
from shardmill.pages.charts import FigureTable, bars_chart
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import DETECTIONS, DetectionScores
from shardmill.quality.inputs import input_rules
from shardmill.quality.measured_sections import CategoryBars, Figure, MeasuredSection, NumberHistogram
from shardmill.quality.measures import Histogram, ValueTally, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.quality.parts import ColumnReading, PipelineQuality, SampledRows
from shardmill.quality.rules import CHECKED_ROWS, QualityRule, Row, at_most
from shardmill.quality.texts import Texts, TextsSection
from shardmill.store.cells import Kind

MAX_CATEGORIES = 30
"""A text column with so few different values, most of which come again, holds categories and not texts."""
MANY_COPIES, MANY_EMPTY = at_most(0.2), at_most(0.5)
LIST_SIZES = (0, 50, 50)
NUMBER_BINS = 40


class DefaultQuality(PipelineQuality):
    """What is measured of every column that the stages of a run add, by its kind.

    Args:
        finished: The finished shards of the run.
        seed: The seed of all samples.
        rules: Rules of the pipeline's own.
    """

    def __init__(self, finished: FinishedShards, seed: int, rules: Sequence[QualityRule] = ()) -> None:
        super().__init__(finished, seed)
        self._added = {stage.name: dict(stage.adds) for stage in finished.run.plan.stages if finished.has(stage.name)}
        columns = [(stage, name, kind) for stage, adds in self._added.items() for name, kind in adds.items()]
        self.rules = [*rules, *input_rules(finished.run, "caption", "image"), *(filled_rule(*column) for column in columns)]
        texts = [TextColumn(finished, stage, name, seed) for stage, name, kind in columns if kind == "text"]
        self.parts = [*texts, TextsSection(texts)]
        for stage, name, kind in columns:
            if kind in ("list", "bool"):
                self.parts.append(MeasuredSection(finished, stage, f"column.{name}", name, _figures(name, kind)))
            elif kind in ("int", "float"):
                self.parts.append(NumberColumn(finished, stage, name, seed))
            elif name == DETECTIONS:
                self.parts.append(DetectionScores(finished, stage, seed))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        detections = row.get(DETECTIONS)
        return list(detections) if isinstance(detections, dict) else [], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        added = {name for adds in self._added.values() for name in adds} - {DETECTIONS}
        found: dict[tuple[str, str], TextView] = {}
        for row in (row for own in lines.values() for row in own):
            line = f" (line {row['sub_id']})" if row.get("sub_id") is not None else ""
            for name in row:
                if name in added and row[name] is not None:
                    view = TextView(label=name + line, text=value_text(row[name]))
                    found.setdefault((view.label, view.text), view)
        return list(found.values())


def value_text(value: Any) -> str:
    """A cell as people read it.

    >>> value_text(["red", "blue"]), value_text(0.25), value_text({"a": 1})
    ('red, blue', '0.25', '{"a": 1}')
    """
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def filled_rule(stage: str, column: str, kind: Kind) -> QualityRule:
    """The rule that most rows have a value in a column: neither null, nor an empty text or list."""
    value = pl.col(column)
    sizes = {"list": value.list.len() == 0, "text": value.str.strip_chars() == "", "json": value.is_in(["{}", "[]", "null"])}
    empty = value.is_null() | sizes[kind] if kind in sizes else value.is_null()
    return QualityRule(
        f"{column}.filled",
        f"Most rows have a value in {column}.",
        MANY_EMPTY,
        (column,),
        empty.fill_null(True),
        stage=stage,
        example=pl.lit("empty"),
        advice=f"Many rows of {stage} have no {column}. Does the model answer as it should? Should such rows be rejected?",
    )


class TextColumn(Texts):
    """A text column: texts with lengths and copies, or categories if it has only few different values."""

    def __init__(self, finished: FinishedShards, stage: str, column: str, seed: int) -> None:
        super().__init__(finished, stage, column, column, seed, pl.col(column), copies=MANY_COPIES, one_pattern=None)
        self._column, self._values = column, ValueTally(limit=50 * MAX_CATEGORIES)

    def readings(self) -> list[ColumnReading]:
        return [*super().readings(), ColumnReading(self._stage, (self._column,), self._count)]

    def _count(self, frame: pl.DataFrame) -> None:
        self._values.add_values(frame[self._column])

    @property
    def _has_categories(self) -> bool:
        return self._values.distinct <= MAX_CATEGORIES and self.repeats.copies > self.repeats.total / 2

    def findings(self) -> list[QualityFinding]:
        return [] if self._has_categories else super().findings()

    def sections(self) -> list[ReportSection]:
        if not self._has_categories:
            return []
        bars = bars_chart(f"{self._column}.values", "Values", self._column, self._values.most_common(MAX_CATEGORIES))
        return [ReportSection(id=f"column.{self._column}", title=self._column, charts=[bars])]


def _figures(column: str, kind: Kind) -> list[Figure]:
    value = pl.col(column)
    if kind == "bool":
        return [CategoryBars(f"{column}.values", "Values", column, value)]
    note = "Bad: a few items are far more frequent than all others."
    return [
        NumberHistogram(f"{column}.sizes", "Items per row", "items", {column: value.list.len()}, LIST_SIZES),
        CategoryBars(f"{column}.items", "Most frequent items", "item", value, note),
    ]


class NumberColumn(SampledRows):
    """A column of numbers: its range and mean, and a histogram, on a sample."""

    def __init__(self, finished: FinishedShards, stage: str, column: str, seed: int) -> None:
        super().__init__(finished, stage, (column,), CHECKED_ROWS, seed, column)
        self._column = column

    def sections(self) -> list[ReportSection]:
        numbers = list(self._numbers())
        if not numbers:
            return []
        low, high = min(numbers), max(numbers)
        histogram = Histogram(low, high if high > low else low + 1, NUMBER_BINS)
        histogram.add_numbers(numbers)
        column = self._column
        table = FigureTable(
            id=f"{column}.range",
            title="Range",
            columns=["figure", "value"],
            rows=[["rows", len(numbers)], ["smallest", low], ["mean", round(histogram.mean, 4)], ["largest", high]],
            note=f"On a seeded sample of at most {CHECKED_ROWS:,} rows.",
        )
        chart = histogram_chart(f"{column}.values", "Values", column, {column: histogram})
        return [ReportSection(id=f"column.{column}", title=column, charts=[chart], tables=[table])]

    def _numbers(self) -> Iterator[float]:
        for row in self.rows:
            value = row[self._column]
            if isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
                yield float(value)
