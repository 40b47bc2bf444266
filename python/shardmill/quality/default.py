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
from shardmill.quality.measured_sections import CategoryBars, MeasuredSection, NumberHistogram
from shardmill.quality.measures import Histogram, ValueTally, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.quality.parts import ColumnReading, PipelineQuality, QualityPart, SampledRows
from shardmill.quality.rules import CHECKED_ROWS, QualityRule, Row, at_least, at_most
from shardmill.quality.texts import Texts, TextsSection
from shardmill.store.cells import Kind

MAX_CATEGORIES = 30
"""A text column with so few different values, most of which come again, holds categories and not texts."""
MANY_COPIES, MOSTLY_FILLED = at_most(0.2), at_least(0.5)
LIST_SIZES = (0, 25, 25)
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
        others = [part for column in columns if (part := _column_part(finished, *column, seed)) is not None]
        self.parts = [OneSection("columns", "Columns", [*texts, *others]), TextsSection(texts)]
        detected = finished.last_with(DETECTIONS)
        if detected is not None:
            self.parts.append(DetectionScores(finished, detected, seed))

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
                    view = TextView(label=name + line, text=value_text(row[name]) or "(empty)")
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
    filled = {"list": value.list.len() > 0, "text": value.str.strip_chars() != "", "json": ~value.is_in(["{}", "[]", "null"])}
    return QualityRule(
        f"{column}.filled",
        f"Most rows have a value in {column}.",
        MOSTLY_FILLED,
        (column,),
        filled.get(kind, value.is_not_null()).fill_null(False),
        stage=stage,
        example=pl.lit("empty"),
        fault=f"Many rows have no value in {column}.",
        advice=f"Many rows of {stage} have no {column}. Does the model answer as it should? Should such rows be rejected?",
    )


class OneSection(QualityPart):
    """Several parts whose charts and tables are in one section."""

    def __init__(self, id: str, title: str, parts: Sequence[QualityPart]) -> None:
        self._id, self._title, self._parts = id, title, parts

    def readings(self) -> list[ColumnReading]:
        return [reading for part in self._parts for reading in part.readings()]

    def findings(self) -> list[QualityFinding]:
        return [finding for part in self._parts for finding in part.findings()]

    def sections(self) -> list[ReportSection]:
        found = [section for part in self._parts for section in part.sections()]
        charts = [chart for section in found for chart in section.charts]
        tables = [table for section in found for table in section.tables]
        return [ReportSection(id=self._id, title=self._title, charts=charts, tables=tables)] if found else []


class TextColumn(Texts):
    """A text column: texts with lengths and copies, or categories if it has only few different values."""

    def __init__(self, finished: FinishedShards, stage: str, column: str, seed: int) -> None:
        super().__init__(
            finished, stage, column, f"values of {column}", seed, pl.col(column), copies=MANY_COPIES, one_pattern=None
        )
        self._column, self._values = column, ValueTally(limit=50 * MAX_CATEGORIES)

    def readings(self) -> list[ColumnReading]:
        return [*super().readings(), ColumnReading(self._stage, (self._column,), self._count)]

    def _count(self, frame: pl.DataFrame) -> None:
        self._values.add_values(frame[self._column])

    @property
    def _has_categories(self) -> bool:
        return self._values.distinct <= MAX_CATEGORIES and self.repeats.copies > self.repeats.total / 2

    @property
    def has_texts(self) -> bool:
        return super().has_texts and not self._has_categories

    def findings(self) -> list[QualityFinding]:
        return [] if self._has_categories else super().findings()

    def sections(self) -> list[ReportSection]:
        if not self._has_categories:
            return []
        column, counts = self._column, self._values.most_common(MAX_CATEGORIES)
        bars = bars_chart(f"{column}.values", column, "value", [(value or "(empty)", count) for value, count in counts])
        return [ReportSection(id=column, title=column, charts=[bars])]


def _column_part(finished: FinishedShards, stage: str, column: str, kind: Kind, seed: int) -> QualityPart | None:
    """What is shown of a column that does not hold texts; None for json, which only the gallery shows."""
    value = pl.col(column)
    if kind in ("int", "float"):
        return NumberColumn(finished, stage, column, seed)
    if kind == "bool":
        return MeasuredSection(finished, stage, column, column, [CategoryBars(f"{column}.values", column, "value", value)])
    if kind != "list":
        return None
    note = "Bad: a few items are far more frequent than all others."
    sizes = NumberHistogram(f"{column}.sizes", f"{column}: items per row", "items", {column: value.list.len()}, LIST_SIZES)
    items = CategoryBars(f"{column}.items", f"{column}: most frequent items", "item", value, note)
    return MeasuredSection(finished, stage, column, column, [sizes, items])


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
            title=f"{column}: range",
            columns=["figure", "value"],
            rows=[["rows", len(numbers)], ["smallest", low], ["mean", round(histogram.mean, 4)], ["largest", high]],
            note=f"On a seeded sample of at most {CHECKED_ROWS:,} rows.",
        )
        chart = histogram_chart(f"{column}.values", column, "value", {column: histogram})
        return [ReportSection(id=column, title=column, charts=[chart], tables=[table])]

    def _numbers(self) -> Iterator[float]:
        for row in self.rows:
            value = row[self._column]
            if isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
                yield float(value)
