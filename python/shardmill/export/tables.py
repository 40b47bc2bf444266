"""The tables that can be exported of a run: finished parts, and what a format finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from shardmill.core.registry import pipeline_of, resolve
from shardmill.export.multi_text_format import TextSlot
from shardmill.export.preference_forms import PreferencePair
from shardmill.store.cells import Kind
from shardmill.store.frames import LIST
from shardmill.store.image_columns import INPUT_IMAGE, image_column, image_columns
from shardmill.store.run_folder import INGEST, RunFolder

Row = dict[str, Any]
Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class QuestionAnswer:
    """A question about an image and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class TextSlots:
    """A fixed number of texts per image.

    Attributes:
        slots: What the text at each position is.
        texts: The expression for their list.
        fallback: The slots whose text may replace a missing one, first choice first.
    """

    slots: list[TextSlot]
    texts: pl.Expr
    fallback: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ExportTable:
    """A table to export.

    Attributes:
        name: Its name in files and for `--what`.
        description: What its rows are.
        stages: The stages whose parts it is made of.
        image_column: The column that names the images.
        join: Makes one table of the parts of several stages.
        joined_columns: The columns of the joined table.
        texts: The expression for the list of texts that are true of an image.
        text_slots: The fixed number of texts of an image; given `--texts`, which may be None.
        conversation: The questions and answers of a row.
        pair: The preference pair of a row; given the row and the path of its image.
        boxes: The columns with the detections and with the names of the objects that are there.
        near_duplicates: Given the run and all shards, a function that marks the rows of a table that are near duplicates of
            earlier rows.
    """

    name: str
    description: str
    stages: tuple[str, ...]
    image_column: str | None = None
    join: Callable[[Tables], pl.DataFrame] | None = None
    joined_columns: Mapping[str, Kind] = field(default_factory=dict)
    texts: pl.Expr | None = None
    text_slots: Callable[[int | None], TextSlots] | None = None
    conversation: Callable[[Row], list[QuestionAnswer]] | None = None
    pair: Callable[[Row, str], PreferencePair] | None = None
    boxes: tuple[str, str] | None = None
    near_duplicates: Callable[[RunFolder, list[int]], Callable[[pl.DataFrame], pl.Series]] | None = None

    def kinds(self, run: RunFolder) -> dict[str, Kind]:
        """The columns of the table."""
        return dict(self.joined_columns) if self.join else run.kinds(self.stages[0])


def export_tables(run: RunFolder) -> list[ExportTable]:
    """All tables of a run, what most people want first: those of its pipeline, or else the rows of its last stages."""
    listed: Callable[[RunFolder], list[ExportTable]] | None = resolve(pipeline_of(run).exports)
    tables = [table for table in listed(run) if set(table.stages) <= set(run.stages)] if listed else []
    has_images = INPUT_IMAGE in run.plan.input.mapping.values()
    tables = [table if has_images or table.image_column != INPUT_IMAGE else replace(table, image_column=None) for table in tables]
    return tables or default_tables(run)


def default_tables(run: RunFolder) -> list[ExportTable]:
    """The rows of the last stages; the last text or list that a stage added is their text, or else the caption."""
    tables = []
    for stage in run.leaves():
        text = _text_column(run, stage)
        tables.append(
            ExportTable(
                stage,
                f"rows of {stage}",
                (stage,),
                image_column(run, stage),
                texts=None if text is None else _texts_of(text, run.kinds(stage)[text]),
            )
        )
    return tables


def _text_column(run: RunFolder, stage: str) -> str | None:
    images = image_columns(run, stage)
    above: str | None = stage
    while above is not None and above != INGEST:
        added = [name for name, kind in run.stage(above).adds.items() if kind in ("text", "list") and name not in images]
        if added:
            return added[-1]
        above = run.after(above)
    return "caption" if "caption" in run.kinds(stage) else None


def _texts_of(column: str, kind: Kind) -> pl.Expr:
    return pl.col(column).str.json_decode(LIST) if kind == "list" else pl.concat_list(column)
