"""What the report of a pipeline is made of: rules, and parts that measure what is not a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from shardmill.pages.cards import BoxView, TextView
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.quality.rules import QualityRule, Row
from shardmill.quality.sampling import RowSample
from shardmill.store.cells import Kinds, decode
from shardmill.store.frames import LIST


@dataclass(frozen=True)
class ColumnReading:
    """Which columns of a stage are read, and what takes each batch of them. List and json cells are JSON text."""

    stage: str
    columns: Sequence[str]
    add_batch: Callable[[pl.DataFrame], None]


def columns_of(expressions: Iterable[pl.Expr]) -> list[str]:
    """The columns that expressions are computed from."""
    return sorted({name for each in expressions for name in each.meta.root_names()})


class QualityPart:
    """One subject of a report: it says what it reads, is given all of it in batches, and then has findings and sections."""

    def readings(self) -> list[ColumnReading]:
        """What this part reads."""
        return []

    def findings(self) -> list[QualityFinding]:
        """Verdicts; called when everything has been read."""
        return []

    def sections(self) -> list[ReportSection]:
        """Charts and tables; called when everything has been read."""
        return []

    def facts(self) -> dict[str, str]:
        """Figures for the top of the page, by name."""
        return {}


class SampledRows(QualityPart):
    """The lines of a seeded sample of rows of one stage, as Python values."""

    def __init__(self, finished: FinishedShards, stage: str, columns: Sequence[str], size: int, *seed: object) -> None:
        self._kinds: Kinds = finished.run.kinds(stage)
        self._sample = RowSample(size, columns, *seed)
        self._reading = ColumnReading(stage, columns, self._sample.add_batch)
        self._rows: list[Row] | None = None

    def readings(self) -> list[ColumnReading]:
        return [self._reading]

    def frame(self) -> pl.DataFrame | None:
        """The sampled lines with list columns as lists; None if there are none. To be called when everything has been read."""
        frame = self._sample.frame()
        return None if frame is None else with_lists(frame, self._kinds)

    @property
    def rows(self) -> list[Row]:
        """The sampled lines; to be called when everything has been read."""
        if self._rows is None:
            frame = self._sample.frame()
            self._rows = [] if frame is None else [decoded(line, self._kinds) for line in frame.iter_rows(named=True)]
        return self._rows

    def every_nth(self, count: int) -> list[Row]:
        """At most `count` of the lines, taken evenly."""
        return self.rows[:: max(1, -(-len(self.rows) // count))]


class PipelineQuality:
    """What the report of a pipeline measures, and how its rows are shown. A pipeline derives its own class from it.

    Args:
        finished: The finished shards of the run.
        seed: The seed of all samples.
    """

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        self.finished, self.seed = finished, seed
        self.rules: list[QualityRule] = []
        """Those whose stage and columns are not finished yet are left out of the report."""
        self.parts: list[QualityPart] = []

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        """The objects that a row says are there, and those that it says are not."""
        return [], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        """The texts of a row for the gallery.

        Args:
            lines: The row's lines by stage, in the order of the plan.
        """
        return []


def decoded(line: dict[str, Any], kinds: Kinds) -> Row:
    """A line with its list and json cells as values. A cell that cannot be read is None: the report goes on without it."""
    row = {}
    for name, value in line.items():
        try:
            row[name] = decode(value, kinds.get(name, "text"))
        except ValueError:
            row[name] = None
    return row


def lists(column: str) -> pl.Expr:
    """A list column, whose cells are JSON text, as lists of texts."""
    return pl.col(column).str.json_decode(LIST)


def with_lists(frame: pl.DataFrame, kinds: Kinds) -> pl.DataFrame:
    """A batch with its list columns as lists of texts."""
    return frame.with_columns(lists(name) for name in frame.columns if kinds.get(name) == "list")


def boxes_of(detections: Any, present: Sequence[str], absent: Sequence[str]) -> list[BoxView]:
    """The boxes of a row's detections: kept for objects that are said to be present, absent for those said to be absent, dropped
    for the rest.
    """
    boxes: list[BoxView] = []
    for name, each in (detections or {}).items() if isinstance(detections, dict) else ():
        kind = "kept" if name in present else "absent" if name in absent else "dropped"
        try:
            for x0, y0, x1, y1 in each["boxes"]:
                box = (float(x0), float(y0), float(x1), float(y1))
                boxes.append(BoxView(name=name, score=float(each["score"]), box=box, kind=kind))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError):
            continue
    return boxes
