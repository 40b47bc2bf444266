"""Measures of rows that stream by: samples, counts, repeated texts, histograms. Memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from shardmill.core.seeding import uniform
from shardmill.quality.model import Chart, ChartSeries, Mark

_HASH_SEED = 0x5EED
MAX_NAMES = 300_000
MAX_HASHES = 1 << 18
MAX_SHOWN = 100


class RowSample:
    """The lines of `size` rows drawn by seed and row_id alone: the same for any number of shards and any order."""

    def __init__(self, size: int, columns: Sequence[str], *seed: object) -> None:
        self.size, self.columns, self._seed = size, columns, seed
        self.lines_seen = 0
        self._kept: list[pl.DataFrame] = []
        self._held = 0
        self._cut: float | None = None

    def look(self, frame: pl.DataFrame) -> None:
        """Take the lines of a batch into account."""
        self.lines_seen += frame.height
        names = [name for name in ("row_id", "sub_id") if name in frame.columns]
        wanted = [*names, *(name for name in self.columns if name in frame.columns and name not in names)]
        draws = frame.select(uniform(pl.col("row_id"), "report", *self._seed).alias("#"))["#"]
        drawn = frame.select(wanted).with_columns(draws)
        if self._cut is not None:
            drawn = drawn.filter(pl.col("#") <= self._cut)
        if drawn.height:
            self._kept.append(own_text(drawn))
            self._held += drawn.height
        if self._held > 4 * self.size:
            self._prune()

    def _prune(self) -> None:
        if not self._kept:
            return
        kept = pl.concat(self._kept)
        draws = kept["#"].unique().sort()
        if len(draws) > self.size:
            self._cut = float(draws[self.size - 1])
            kept = own_text(kept.filter(pl.col("#") <= self._cut))
        self._kept, self._held = [kept], kept.height

    def frame(self) -> pl.DataFrame | None:
        """The sampled lines in the order of their rows; None if there were none."""
        self._prune()
        if not self._kept:
            return None
        names = [name for name in ("row_id", "sub_id") if name in self._kept[0].columns]
        return self._kept[0].sort(names).drop("#")


def own_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with texts of its own: Polars lets the few that are kept of a batch hold all of the batch's."""
    texts = [column for column, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(pl.Series(name, frame[name].to_list(), pl.String) for name in texts)


class ValueTally:
    """How often each value comes, exact up to some 300,000 different ones; beyond that the rarest are let go and counted."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self.total = self.let_go = 0
        self._limit = limit
        self._counts = pl.DataFrame(schema={"value": pl.String, "n": pl.Int64})
        self._new: list[pl.DataFrame] = []
        self._waiting = 0

    def look(self, values: pl.Series) -> None:
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
            self.let_go += int(self._counts["n"].sum()) - int(kept["n"].sum())
            self._counts = kept

    @property
    def distinct(self) -> int:
        """Different values, without those that were let go."""
        self._merge()
        return self._counts.height

    def most(self, count: int | None = None) -> list[tuple[str, int]]:
        """The commonest values with their counts, ties by name."""
        self._merge()
        ordered = self._counts.sort("n", "value", descending=[True, False])
        return list((ordered if count is None else ordered.head(count)).iter_rows())

    def counts(self) -> np.ndarray:
        """All counts, the largest first."""
        self._merge()
        return self._counts["n"].sort(descending=True).to_numpy()


@dataclass(frozen=True)
class Repeated:
    """A text that came several times: how often, and two of its rows."""

    text: str
    times: int
    rows: tuple[int, int]


class Repeats:
    """How many texts say the same as another, by 64-bit hashes of the texts without case and double blanks.

    Exact up to some 260,000 different texts. Beyond that only texts are followed whose hash is a multiple of 2, 4, 8, …, a fair
    sample of the different texts, each with all of its copies (adaptive sampling, Flajolet 1990); and, whatever their hash, those
    that made a thousandth of some batch or of all.
    """

    def __init__(self, limit: int = MAX_HASHES) -> None:
        self.total = 0
        self._limit, self._level = limit, 0
        self._counts = pl.DataFrame(schema={"hash": pl.UInt64, "n": pl.Int64, "first": pl.Int64})
        self._shown: dict[int, Repeated] = {}

    def look(self, rows: pl.Series, texts: pl.Series) -> None:
        """Take the texts of a batch into account, each with its row."""
        plain = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
        batch = pl.DataFrame({"row": rows, "text": texts}).drop_nulls("text").with_columns(hash=plain.hash(_HASH_SEED))
        self.total += batch.height
        own = batch.group_by("hash").agg(n=pl.len().cast(pl.Int64), first=pl.col("row").min())
        if self._level:
            followed = self._counts.filter(~self._sampled())["hash"]
            own = own.filter(self._sampled() | (pl.col("n") >= _heavy(batch.height)) | pl.col("hash").is_in(followed.implode()))
        self._counts = pl.concat([self._counts, own]).group_by("hash").agg(pl.col("n").sum(), pl.col("first").min())
        self._note(batch, own)
        while self._counts.height > self._limit:
            self._level += 1
            self._counts = self._counts.filter(self._sampled() | (pl.col("n") >= _heavy(self.total)))

    def _sampled(self) -> pl.Expr:
        return pl.col("hash") % (1 << self._level) == 0

    def _note(self, batch: pl.DataFrame, own: pl.DataFrame) -> None:
        """Remember what the texts of a batch that came again say, the commonest first."""
        again = self._counts.filter(pl.col("n") > 1).join(own.select("hash"), on="hash", how="semi")
        again = again.sort("n", "first", descending=[True, False]).head(MAX_SHOWN)
        if not again.height:
            return
        said = batch.join(again, on="hash", how="semi").group_by("hash").agg(pl.col("text").first(), last=pl.col("row").max())
        for line in again.join(said, on="hash").iter_rows(named=True):
            self._shown[line["hash"]] = Repeated(line["text"], line["n"], (line["first"], line["last"]))
        if len(self._shown) > 2 * MAX_SHOWN:
            best = sorted(self._shown.items(), key=lambda item: (-item[1].times, item[1].rows))
            self._shown = dict(best[:MAX_SHOWN])

    @property
    def exact(self) -> bool:
        return self._level == 0

    @property
    def extra(self) -> int:
        """Copies: the texts less the different ones; estimated from the texts that are followed where these are not all."""
        sampled = self._counts.filter(self._sampled())
        if self.exact:
            return self.total - sampled.height
        heavy = self._counts.filter(~self._sampled())
        weight = int(heavy["n"].sum())
        light = int(sampled["n"].sum())
        share = (light - sampled.height) / light if light else 0.0
        return weight - heavy.height + round(share * (self.total - weight))

    def most(self, count: int) -> list[Repeated]:
        """The texts that came most often, of those that came twice or more."""
        return sorted(self._shown.values(), key=lambda each: (-each.times, each.rows))[:count]


def _heavy(total: int) -> int:
    """Copies from which on a text among so many is followed whatever its hash."""
    return max(total // 1_000, 20)


class Histogram:
    """Counts of numbers in equal bins from `low` to `high`; what lies beyond is in the outer bins."""

    def __init__(self, low: float, high: float, bins: int) -> None:
        self.edges = np.linspace(low, high, bins + 1)
        self.counts = np.zeros(bins, dtype=np.int64)
        self.n, self.sum, self.highest = 0, 0.0, 0.0

    def look(self, values: pl.Series | Sequence[float]) -> None:
        """Count the numbers that are there."""
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
        return self.sum / self.n if self.n else 0.0

    def above(self, value: float) -> int:
        """How many numbers stand in bins from `value` on; exact where a bin begins there."""
        return int(self.counts[np.searchsorted(self.edges[:-1], value - 1e-9) :].sum())

    def quantile(self, share: float) -> float:
        """The left edge of the bin that holds a quantile."""
        if not self.n:
            return 0.0
        return float(self.edges[int(np.searchsorted(np.cumsum(self.counts), share * self.n))])

    def series(self, name: str) -> ChartSeries:
        return ChartSeries(
            name=name, x=[round(float(edge), 6) for edge in self.edges[:-1]], y=[float(count) for count in self.counts]
        )


def histogram_chart(
    id: str, title: str, x_label: str, histograms: dict[str, Histogram], marks: Sequence[Mark] = (), note: str = ""
) -> Chart:
    """A chart of histograms with equal bins, trimmed to the bins that hold anything."""
    series = [histogram.series(name) for name, histogram in histograms.items() if histogram.n]
    return Chart(
        id=id, title=title, kind="histogram", x_label=x_label, y_label="number", series=series, marks=list(marks), note=note
    )


def bars_chart(
    id: str, title: str, x_label: str, counts: Sequence[tuple[str, float]], note: str = "", name: str = "number"
) -> Chart:
    """A chart of bars by category."""
    series = ChartSeries(name=name, x=[value for value, _ in counts], y=[float(count) for _, count in counts])
    return Chart(id=id, title=title, kind="bars", x_label=x_label, y_label=name, series=[series], note=note)
