"""Seeded samples of rows that stream by: the same rows for any number of shards and any order of batches."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shardmill.core.seeding import uniform

KEYS = ("row_id", "sub_id")


def keys_in(frame: pl.DataFrame) -> list[str]:
    """The columns that name a line: row_id, and sub_id where a stage makes several lines of a row."""
    return [name for name in KEYS if name in frame.columns]


class RowSample:
    """The lines of `size` rows, drawn by seed and row_id alone.

    Args:
        size: The number of rows; each comes with all of its lines.
        columns: The columns that are kept besides row_id and sub_id.
        seed: Any values; another seed draws other rows.
    """

    def __init__(self, size: int, columns: Sequence[str], *seed: object) -> None:
        self.size, self.columns, self._seed = size, columns, seed
        self._kept: list[pl.DataFrame] = []
        self._kept_lines = 0
        self._threshold: float | None = None

    def add_batch(self, frame: pl.DataFrame) -> None:
        """Consider the lines of a batch."""
        names = keys_in(frame)
        wanted = [*names, *(name for name in self.columns if name in frame.columns and name not in names)]
        draws = frame.select(uniform(pl.col("row_id"), "report", *self._seed).alias("#"))["#"]
        drawn = frame.select(wanted).with_columns(draws)
        if self._threshold is not None:
            drawn = drawn.filter(pl.col("#") <= self._threshold)
        if drawn.height:
            self._kept.append(own_text(drawn))
            self._kept_lines += drawn.height
        if self._kept_lines > 4 * self.size:
            self._prune()

    def _prune(self) -> None:
        if not self._kept:
            return
        kept = pl.concat(self._kept)
        draws = kept["#"].unique().sort()
        if len(draws) > self.size:
            self._threshold = float(draws[self.size - 1])
            kept = own_text(kept.filter(pl.col("#") <= self._threshold))
        self._kept, self._kept_lines = [kept], kept.height

    def frame(self) -> pl.DataFrame | None:
        """The sampled lines in the order of their rows; None if there were none."""
        self._prune()
        if not self._kept:
            return None
        return self._kept[0].sort(keys_in(self._kept[0])).drop("#")


def own_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with copies of its texts. A few rows that are kept of a batch would otherwise keep the whole batch in memory."""
    texts = [column for column, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(pl.Series(name, frame[name].to_list(), pl.String) for name in texts)
