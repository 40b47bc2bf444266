"""Counts of values and histograms of numbers that stream by, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from shardmill.pages.charts import Chart, ChartSeries, Mark
from shardmill.quality.sampling import own_text

MAX_VALUES = 300_000


class ValueTally:
    """How often each value comes: exact up to some 300,000 different ones; beyond that the rarest are dropped and counted."""

    def __init__(self, limit: int = MAX_VALUES) -> None:
        self.total = self.dropped = 0
        self._limit = limit
        self._counts = pl.DataFrame(schema={"value": pl.String, "n": pl.Int64})
        self._new: list[pl.DataFrame] = []
        self._waiting = 0

    def add_values(self, values: pl.Series) -> None:
        """Count the values that are not null."""
        counts = values.cast(pl.String).drop_nulls().value_counts(name="n")
        counts = counts.select(pl.col(counts.columns[0]).alias("value"), pl.col("n").cast(pl.Int64))
        self.total += int(counts["n"].sum())
        self._new.append(own_text(counts))
        self._waiting += counts.height
        if self._waiting > self._limit // 4:
            self._merge()

    def _merge(self) -> None:
        if self._new:
            self._counts = own_text(pl.concat([self._counts, *self._new]).group_by("value").agg(pl.col("n").sum()))
            self._new, self._waiting = [], 0
        if self._counts.height > 2 * self._limit:
            kept = self._counts.sort("n", "value", descending=[True, False]).head(self._limit)
            self.dropped += int(self._counts["n"].sum()) - int(kept["n"].sum())
            self._counts = kept

    @property
    def distinct(self) -> int:
        """The number of different values, without those that were dropped."""
        self._merge()
        return self._counts.height

    def most_common(self, count: int | None = None) -> list[tuple[str, int]]:
        """The commonest values with their counts, ties in alphabetical order; all of them if `count` is None."""
        self._merge()
        ordered = self._counts.sort("n", "value", descending=[True, False])
        return list((ordered if count is None else ordered.head(count)).iter_rows())

    def counts(self) -> np.ndarray:
        """All counts, the largest first."""
        self._merge()
        return self._counts["n"].sort(descending=True).to_numpy()


class Histogram:
    """Counts of numbers in equal bins from `low` to `high`; numbers beyond fall into the outer bins."""

    def __init__(self, low: float, high: float, bins: int) -> None:
        self.edges = np.linspace(low, high, bins + 1)
        self.counts = np.zeros(bins, dtype=np.int64)
        self.n, self.sum, self.highest = 0, 0.0, 0.0

    def add_numbers(self, values: pl.Series | Sequence[float]) -> None:
        """Count the numbers that are neither null nor NaN."""
        numbers = pl.Series(values, dtype=pl.Float64, strict=False).drop_nulls().drop_nans().to_numpy()
        if not len(numbers):
            return
        inside = np.clip(numbers, self.edges[0], np.nextafter(self.edges[-1], self.edges[0]))
        self.counts += np.histogram(inside, self.edges)[0]
        self.n += len(numbers)
        self.sum += float(numbers.sum())
        self.highest = max(self.highest, float(numbers.max()))

    @property
    def mean(self) -> float:
        """The mean of the numbers; 0 without any."""
        return self.sum / self.n if self.n else 0.0

    def series(self, name: str) -> ChartSeries:
        """The histogram as a series of a chart."""
        edges = [round(float(edge), 6) for edge in self.edges[:-1]]
        return ChartSeries(name=name, x=edges, y=[float(count) for count in self.counts])


def histogram_chart(
    id: str, title: str, x_label: str, histograms: dict[str, Histogram], marks: Sequence[Mark] = (), note: str = ""
) -> Chart:
    """A chart of histograms with equal bins, without those that are empty."""
    series = [histogram.series(name) for name, histogram in histograms.items() if histogram.n]
    return Chart(
        id=id, title=title, kind="histogram", x_label=x_label, y_label="number", series=series, marks=list(marks), note=note
    )
