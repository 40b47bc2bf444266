"""Sections of charts and tables, declared by Polars expressions over the columns of one stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl

from shardmill.pages.charts import Chart, FigureTable, Mark, TableRow, bars_chart
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.measures import Histogram, ValueTally, histogram_chart
from shardmill.quality.model import ReportSection
from shardmill.quality.parts import ColumnReading, QualityPart, columns_of, with_lists

MAX_BARS = 30


class Figure(Protocol):
    """A chart or table of the rows of one stage."""

    @property
    def expressions(self) -> list[pl.Expr]:
        """What it reads."""

    def add_batch(self, frame: pl.DataFrame) -> None:
        """Count a batch, in which list columns are lists."""

    def result(self) -> Chart | FigureTable | None:
        """The figure; None where there was nothing to count."""


class CategoryBars:
    """A bar for each of the commonest values of an expression, or of its items if it is a list.

    `labels` gives the bars in their order, by value; without it the commonest come first.
    """

    def __init__(
        self, id: str, title: str, x_label: str, values: pl.Expr, note: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        self._id, self._title, self._x_label, self._note, self._labels = id, title, x_label, note, labels
        self.expressions = [values]
        self._tally = ValueTally()

    def add_batch(self, frame: pl.DataFrame) -> None:
        self._tally.add_values(values_of(frame, self.expressions[0]))

    @property
    def distinct(self) -> int:
        """The number of different values."""
        return self._tally.distinct

    def result(self) -> Chart | None:
        counts = self._tally.most_common(MAX_BARS)
        if self._labels is not None and counts:
            known = dict(self._tally.most_common())
            counts = [(label, known.get(value, 0)) for value, label in self._labels.items()]
        return bars_chart(self._id, self._title, self._x_label, counts, self._note) if counts else None


class NumberHistogram:
    """Histograms of numbers, or of the items of lists of numbers: one series for each named expression."""

    def __init__(
        self,
        id: str,
        title: str,
        x_label: str,
        series: Mapping[str, pl.Expr],
        bins: tuple[float, float, int],
        note: str = "",
        marks: Sequence[Mark] = (),
    ) -> None:
        """Args as for a Chart; `bins` are the lower edge, the upper edge and the number of bins."""
        self._id, self._title, self._x_label, self._note, self._marks = id, title, x_label, note, marks
        self.expressions = list(series.values())
        self._histograms = {name: Histogram(*bins) for name in series}

    def add_batch(self, frame: pl.DataFrame) -> None:
        for histogram, expression in zip(self._histograms.values(), self.expressions, strict=True):
            histogram.add_numbers(values_of(frame, expression).cast(pl.Float64))

    def result(self) -> Chart | None:
        if not any(histogram.n for histogram in self._histograms.values()):
            return None
        return histogram_chart(self._id, self._title, self._x_label, self._histograms, self._marks, self._note)


class CrossTable:
    """A table of counts: a line for each value of one expression, a column for each value of another.

    `across` gives the columns in their order, by value; without it the commonest come first.
    """

    def __init__(
        self,
        id: str,
        title: str,
        label: str,
        values: pl.Expr,
        others: pl.Expr,
        across: Mapping[str, str] | None = None,
        note: str = "",
    ) -> None:
        self._id, self._title, self._label, self._note, self._across = id, title, label, note, across
        self.expressions = [values, others]
        self._tally = ValueTally()

    def add_batch(self, frame: pl.DataFrame) -> None:
        pairs = frame.select(a=self.expressions[0], b=self.expressions[1])
        if isinstance(pairs.schema["a"], pl.List):
            pairs = pairs.explode("a", "b")
        self._tally.add_values(pairs["b"].cast(pl.String) + "\t" + pairs["a"].cast(pl.String))

    def result(self) -> FigureTable | None:
        counts: dict[str, Counter[str]] = {}
        totals = Counter[str]()
        for both, count in self._tally.most_common():
            other, _, value = both.partition("\t")
            counts.setdefault(value, Counter())[other] = count
            totals[other] += count
        if not counts:
            return None
        across = self._across or {other: other for other, _ in totals.most_common()}
        rows: list[TableRow] = [[value, *(own[other] for other in across)] for value, own in counts.items()]
        columns = [self._label, *across.values()]
        return FigureTable(id=self._id, title=self._title, columns=columns, rows=rows, note=self._note)


class MeasuredSection(QualityPart):
    """A section of figures over the rows of one stage.

    Args:
        finished: The finished shards of the run.
        stage: The stage whose rows are counted.
        id: The id of the section.
        title: Its title.
        figures: Its charts and tables; those with nothing to show are left out, as is a section without any.
        facts: Figures for the top of the page: the sum of an expression over all lines, by name.
    """

    def __init__(
        self,
        finished: FinishedShards,
        stage: str,
        id: str,
        title: str,
        figures: Sequence[Figure],
        facts: Mapping[str, pl.Expr] | None = None,
    ) -> None:
        self._stage, self._id, self._title, self._figures = stage, id, title, figures
        self._kinds = finished.run.kinds(stage)
        self._facts = dict(facts or {})
        self._sums = dict.fromkeys(self._facts, 0)
        expressions = [*self._facts.values(), *(each for figure in figures for each in figure.expressions)]
        self._columns = columns_of(expressions)

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, self._columns, self._add_batch)]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        batch = with_lists(frame.select(self._columns), self._kinds)
        for figure in self._figures:
            figure.add_batch(batch)
        for name, expression in self._facts.items():
            self._sums[name] += int(batch.select(expression.sum()).item() or 0)

    def sections(self) -> list[ReportSection]:
        results = [result for figure in self._figures if (result := figure.result()) is not None]
        charts = [each for each in results if isinstance(each, Chart)]
        tables = [each for each in results if isinstance(each, FigureTable)]
        return [ReportSection(id=self._id, title=self._title, charts=charts, tables=tables)] if results else []

    def facts(self) -> dict[str, str]:
        return {name: f"{count:,}" for name, count in self._sums.items()}


def values_of(frame: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    """The values of an expression, or the items of its values if they are lists."""
    values = frame.select(value=expression)["value"]
    return values.explode() if isinstance(values.dtype, pl.List) else values
