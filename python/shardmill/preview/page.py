"""A preview of a whole pipeline as one page: rows as cards, with what each stage asked, got and made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.anyedit.pictures import GENERATED, picture_of
from shardmill.audit.statements import object_boxes
from shardmill.core.model_stages import read_detections, write_detections
from shardmill.core.stage import Context
from shardmill.pages.html import flat, render
from shardmill.preview import Exchange, PreviewedLife, PreviewStep
from shardmill.quality.gallery import CardView, views
from shardmill.quality.model import Card, TextView
from shardmill.store.atomic import replacing
from shardmill.store.run_folder import RunFolder

PRESENT = ("positive_objects", "seen_objects", "verified_present", "present", "objects", "input_objects", "caption_objects")
ABSENT = ("negative_objects", "unseen_negatives", "verified_absent", "absent", "negatives")
"""Columns with the objects of a row, those that were checked last first."""
SHOWN = {"caption": "caption", "scene_caption": "scene", "input": "caption that is edited", "edit": "edit"}
"""Columns that a card shows as texts, with their labels; one that says the same as one before it is left out."""


@dataclass(frozen=True)
class StepView:
    """A stage of a card: its exchanges, and the lines that it made (or why it made none) as names and values."""

    stage: str
    rejected: bool
    exchanges: list[Exchange]
    lines: list[dict[str, str]]


@dataclass(frozen=True)
class LifeView:
    """A row of the page."""

    view: CardView
    steps: list[StepView]


def write_preview(run: RunFolder, lives: Sequence[PreviewedLife], out: Path, source: str) -> Path:
    """Write the page of previewed rows; `source` names their input. Needs the previewed run, which has the pictures."""
    cards = views([card_of(run, life) for life in lives])
    facts = {
        "pipeline": run.plan.pipeline,
        "input": source,
        "rows": str(len(lives)),
        "rejected": str(sum(life.steps[-1].verdict.fate == "rejected" for life in lives if life.steps)),
        "seed": str(run.plan.seed),
    }
    models = {stage.name: ", ".join(map(flat, stage.model.values())) for stage in run.plan.stages if stage.model}
    pairs = [LifeView(view, [_step(run, step) for step in life.steps]) for view, life in zip(cards, lives, strict=True)]
    page = render("preview.html.j2", title=f"{run.plan.pipeline}: a preview", facts=facts, models=models, lives=pairs)
    with replacing(out) as file:
        file.write(page.encode("utf-8"))
    return out


def card_of(run: RunFolder, life: PreviewedLife) -> Card:
    """The row as it stood last: its picture with boxes, its caption, and its fate."""
    last = life.steps[-1].verdict
    rejected = last.rows[0] if last.fate == "rejected" and last.rows else {}
    present, absent = _first(life.values, PRESENT), _first(life.values, ABSENT)
    return Card(
        row_id=life.row_id,
        stage=last.stage,
        fate="rejected" if last.fate == "rejected" else "out",
        reason=str(rejected.get("reason") or ""),
        detail=str(rejected.get("detail") or ""),
        objects=present,
        image=_picture(run, life.values),
        boxes=object_boxes(_looked_at(life.values, rejected), present if not rejected else [], absent),
        texts=_texts({**rejected, **life.values}),
    )


def _texts(values: Mapping[str, Any]) -> list[TextView]:
    said: dict[str, str] = {}
    for name, label in SHOWN.items():
        if values.get(name):
            said.setdefault(str(values[name]), label)
    return [TextView(label=label, text=text) for text, label in said.items()]


def _first(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return next((list(values[name]) for name in names if values.get(name)), [])


def _looked_at(values: Mapping[str, Any], rejected: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with what the detector saw, also where that made a stage reject the row."""
    try:
        found = read_detections(json.loads(rejected.get("raw") or ""))
    except (ValueError, TypeError, AttributeError, KeyError):
        return values
    return {**values, "detections": write_detections(found)}


def _picture(run: RunFolder, values: Mapping[str, Any]) -> str | None:
    """The reference to the row's picture: the one painted for it, or the one that it came with."""
    context = Context(run.plan.seed, Path(run.plan.input.image_root), run.path)
    columns = [GENERATED, "image", *(name for name in values if name.endswith("_image"))]
    return next((picture_of(context, name, str(values[name])) for name in columns if values.get(name)), None)


def _step(run: RunFolder, step: PreviewStep) -> StepView:
    rejected = step.verdict.fate == "rejected"
    hidden = {"row_id", "raw"} if step.exchanges else {"row_id"}
    lines = [{name: flat(value) for name, value in row.items() if name not in hidden} for row in step.verdict.rows]
    return StepView(step.stage, rejected, [_without_folder(run, exchange) for exchange in step.exchanges], lines)


def _without_folder(run: RunFolder, exchange: Exchange) -> Exchange:
    """Paths in the preview's own folder, which is gone when the page is read, start from the run."""
    folders = {f"{run.path}/", f"{run.path.resolve()}/"}

    def short(text: str) -> str:
        for folder in folders:
            text = text.replace(folder, "")
        return text

    return Exchange([{name: short(value) for name, value in message.items()} for message in exchange.sent], short(exchange.raw))
