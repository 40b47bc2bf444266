"""What the statistics of a pipeline are: columns to read of which stage, and what to make of the rows that stream by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.measures import RowSample
from shardmill.quality.model import BoxView, QualityFinding, ReportSection, TextView
from shardmill.store.cells import Kinds, decode
from shardmill.store.frames import LIST

Row = dict[str, Any]

CHECKED_ROWS = 10_000
"""Rows on which rules are checked that look into every word. A fault in one row of a thousand is found with near certainty."""


@dataclass(frozen=True)
class ColumnReading:
    """Which columns of a stage somebody looks at, batch by batch."""

    stage: str
    columns: Sequence[str]
    look: Callable[[pl.DataFrame], None]


class QualityPart:
    """One matter that is measured: it says what it reads, looks at all of it, and tells in the end."""

    def readings(self) -> list[ColumnReading]:
        return []

    def findings(self) -> list[QualityFinding]:
        return []

    def sections(self) -> list[ReportSection]:
        return []

    def facts(self) -> dict[str, str]:
        """Figures for the top of the page, by name."""
        return {}


class Rows(QualityPart):
    """The lines of a seeded sample of rows of one stage, as Python values."""

    def __init__(self, standing: FinishedShards, stage: str, columns: Sequence[str], size: int, *seed: object) -> None:
        self._kinds: Kinds = standing.run.kinds(stage)
        self._sample = RowSample(size, columns, *seed)
        self._reading = ColumnReading(stage, columns, self._sample.look)
        self._rows: list[Row] | None = None

    def readings(self) -> list[ColumnReading]:
        return [self._reading]

    @property
    def rows(self) -> list[Row]:
        """The lines; call it when all has been read."""
        if self._rows is None:
            frame = self._sample.frame()
            self._rows = [] if frame is None else [decoded(line, self._kinds) for line in frame.iter_rows(named=True)]
        return self._rows

    def some(self, count: int) -> list[Row]:
        """So many of the lines at most, taken evenly."""
        return self.rows[:: max(1, -(-len(self.rows) // count))]


class PipelineQuality:
    """The parts of a pipeline, and how its rows are shown."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self.standing, self.seed = standing, seed
        self.parts: list[QualityPart] = []

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        """The objects that a row says are there, and those that it says are not."""
        return [], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        """The texts of a row for the gallery; `lines` are its lines by stage, in the order of the plan."""
        return []


def decoded(line: dict[str, Any], kinds: Kinds) -> Row:
    """A line with its list and json cells as values. A cell that cannot be read is None: the report goes on."""
    row = {}
    for name, value in line.items():
        try:
            row[name] = decode(value, kinds.get(name, "text"))
        except ValueError:
            row[name] = None
    return row


def lists(column: str) -> pl.Expr:
    """A list column as real lists."""
    return pl.col(column).str.json_decode(LIST)


def boxes_of(detections: Any, there: Sequence[str], not_there: Sequence[str]) -> list[BoxView]:
    """The boxes of a row's detections: kept for what is said to be there, absent for what is not, dropped for the rest."""
    found: list[BoxView] = []
    for name, each in (detections or {}).items() if isinstance(detections, dict) else ():
        kind = "kept" if name in there else "absent" if name in not_there else "dropped"
        try:
            for x0, y0, x1, y1 in each["boxes"]:
                box = (float(x0), float(y0), float(x1), float(y1))
                found.append(BoxView(name=name, score=float(each["score"]), box=box, kind=kind))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            continue
    return found
