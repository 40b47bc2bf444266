"""What a row states that a person who sees its image can tick: right, wrong or unclear.

A pipeline has several outputs to audit, each made by one stage. For a row of that stage `show` says what is shown and what is
stated; `stratum` is the group that the row belongs to, such as its template, cell, query or edit type. A pipeline lists its
outputs in its module `audit`; one that has none gets `default_outputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import polars as pl

from shardmill.core.registry import pipeline_of, resolve
from shardmill.language.nouns import is_mass, is_plural, with_article
from shardmill.pages.cards import BoxView, TextView
from shardmill.store.cells import dump_cell
from shardmill.store.image_columns import image_column, image_columns
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.errors import UserError

Row = Mapping[str, Any]
PRESENT, ABSENT = "object present", "object absent"
STATED_KINDS = ("text", "list", "bool", "json")
"""Columns whose values a person can judge. Numbers are left out: nobody sees whether a score is right."""
KEYS = ("row_id", "sub_id")
DETECTIONS = "detections"
"""The column with the boxes that a detector found. They are drawn over the image."""


@dataclass(frozen=True)
class Statement:
    """One sentence to tick. Each `kind` of statement gets an error rate of its own."""

    kind: str
    text: str


@dataclass(frozen=True)
class AuditRow:
    """What is shown of a row beside its image, and what it states."""

    statements: list[Statement]
    texts: list[TextView] = field(default_factory=list)
    boxes: list[BoxView] = field(default_factory=list)


@dataclass(frozen=True)
class AuditOutput:
    """One output of a stage: a row of it for each row of the stage whose `stratum` (over its columns) is not null.

    `image_column` names the images that are shown, if the rows have any.
    """

    kind: str
    stage: str
    image_column: str | None
    stratum: pl.Expr
    show: Callable[[Row], AuditRow]


def audit_outputs(run: RunFolder) -> list[AuditOutput]:
    """What there is to tick in a run: what its pipeline lists and the run has, or else the rows of its last stages.

    Empty if no stage states anything.
    """
    listed: Callable[[RunFolder], list[AuditOutput]] | None = resolve(pipeline_of(run).audit)
    outputs = [output for output in listed(run) if output.stage in run.stages] if listed else []
    return outputs or default_outputs(run)


def require_outputs(run: RunFolder) -> list[AuditOutput]:
    """What there is to tick in a run. Raises UserError if no stage states anything."""
    found = audit_outputs(run)
    if not found:
        raise UserError(f"no stage of the run {run.path} makes rows with anything that a person can tick")
    return found


def default_outputs(run: RunFolder) -> list[AuditOutput]:
    """The rows of the last stages, one statement for each value of text, list, bool or json that they added."""
    outputs = []
    for stage in run.leaves():
        columns = _stated_columns(run, stage)
        if columns:
            image = image_column(run, stage)
            outputs.append(AuditOutput(stage, stage, image, pl.lit("rows"), partial(_show_values, run, columns, image)))
    return outputs


def _stated_columns(run: RunFolder, stage: str) -> list[str]:
    if stage == INGEST:
        return []
    images = image_columns(run, stage)
    adds = run.stage(stage).adds
    return [name for name, kind in adds.items() if kind in STATED_KINDS and name not in (*images, *KEYS, DETECTIONS)]


def _show_values(run: RunFolder, columns: Sequence[str], image: str | None, row: Row) -> AuditRow:
    """The texts of the input, and a statement for each value of these columns: `This fits the image. colours: red, blue`."""
    inputs = [name for name, kind in run.plan.input.columns.items() if kind in ("text", "list") and name != image]
    texts = {name: _readable(row[name]) for name in inputs if row.get(name)}
    fits = "the image" if image and row.get(image) else "the caption" if row.get("caption") else "the row"
    values = {name: _readable(row[name]) for name in columns if row.get(name) is not None}
    statements = [Statement(name, f"This fits {fits}. {name}: {value}") for name, value in values.items() if value]
    listed = [item for name in columns if isinstance(row.get(name), list) for item in row[name]]
    return AuditRow(statements, text_views(texts), object_boxes(row, listed, []))


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) if value else "none"
    return value if isinstance(value, str) else dump_cell(value)


def object_present(name: str) -> Statement:
    """The statement that an object is in the image."""
    return Statement(PRESENT, f"There {_verb(name)} {with_article(name)} in this image.")


def object_absent(name: str) -> Statement:
    """The statement that an object is not in the image."""
    return Statement(ABSENT, f"There {_verb(name)} no {name} in this image.")


def _verb(name: str) -> str:
    return "are" if is_plural(name) and not is_mass(name) else "is"


def object_boxes(row: Row, present: Sequence[str], absent: Sequence[str]) -> list[BoxView]:
    """The boxes in a row's `detections`, marked by whether their object was kept as present, kept as absent, or dropped."""
    boxes = []
    for name, found in (row.get(DETECTIONS) or {}).items():
        kind: Literal["kept", "dropped", "absent"] = "kept" if name in present else "absent" if name in absent else "dropped"
        boxes += [BoxView(name=name, score=found["score"], box=tuple(box), kind=kind) for box in found["boxes"]]
    return boxes


def text_views(texts: Mapping[str, str | None]) -> list[TextView]:
    """Texts to show, by label; empty ones are left out."""
    return [TextView(label=label, text=text) for label, text in texts.items() if text]
