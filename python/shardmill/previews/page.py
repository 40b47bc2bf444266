"""A preview of a whole pipeline as one page: rows as cards, with the prompts, answers and results of each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.audit.statements import AuditRow, audit_outputs, object_boxes
from shardmill.compare.measures import measures_of
from shardmill.core.model_stages import read_detections, write_detections
from shardmill.pages.cards import Card, TextView
from shardmill.pages.gallery import CardView, views
from shardmill.pages.html import flat, render
from shardmill.previews.run import PreviewedRow, PreviewStep
from shardmill.previews.tracing import Exchange
from shardmill.quality.model_uses import embedded_note, model_uses
from shardmill.store.image_columns import GENERATED_IMAGE, image_columns, image_reference
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import replacing


@dataclass(frozen=True)
class StepView:
    """A stage of a card: its exchanges, and the lines that it made, or its rejects, as names and values."""

    stage: str
    rejected: bool
    exchanges: list[Exchange]
    lines: list[dict[str, str]]


@dataclass(frozen=True)
class RowView:
    """A row of the page."""

    view: CardView
    steps: list[StepView]


def write_preview(run: RunFolder, rows: Sequence[PreviewedRow], out: Path, source: str) -> Path:
    """Write the page of previewed rows.

    Args:
        run: the previewed run, while its folder exists: the images are in it.
        rows: its rows.
        out: the page.
        source: what the page calls their input.

    Returns:
        The path of the page.
    """
    cards = views([card_of(run, row) for row in rows])
    facts = {
        "pipeline": run.plan.pipeline,
        "input": source,
        "rows": str(len(rows)),
        "rejected": str(sum(row.rejected for row in rows)),
        "seed": str(run.plan.seed),
    }
    uses = model_uses(run)
    if uses:
        facts["models"] = ", ".join(dict.fromkeys(use.name for use in uses))
    found = [RowView(view, [_step_view(run, step) for step in row.steps]) for view, row in zip(cards, rows, strict=True)]
    title, embedded = f"{run.plan.pipeline}: a preview", embedded_note(uses)
    page = render("preview.html.j2", title=title, facts=facts, embedded=embedded, rows=found)
    with replacing(out) as file:
        file.write(page.encode("utf-8"))
    return out


def card_of(run: RunFolder, row: PreviewedRow) -> Card:
    """The row after its last stage, shown as an audit would: its image with boxes, its texts, and what became of it."""
    last = row.steps[-1].result
    reject = last.rows[0] if row.rejected and last.rows else {}
    shown = _shown(run, row)
    detections = _rejected_detections(reject) or row.values.get("detections")
    boxes = shown.boxes or object_boxes({"detections": detections}, [], [])
    return Card(
        row_id=row.row_id,
        stage=last.stage,
        outcome="rejected" if row.rejected else "accepted",
        reason=str(reject.get("reason") or ""),
        detail=str(reject.get("detail") or ""),
        objects=_objects(run, row) or list(dict.fromkeys(box.name for box in boxes)),
        image=_image_of(run, row),
        boxes=boxes,
        texts=_texts(row, reject, shown),
    )


def _shown(run: RunFolder, row: PreviewedRow) -> AuditRow:
    """What an audit shows of the row for the last output that it reached."""
    reached = [step.stage for step in row.steps if not step.rejected]
    outputs = {output.stage: output for output in audit_outputs(run)}
    output = next((outputs[stage] for stage in reversed(reached) if stage in outputs), None)
    return output.show(row.values) if output else AuditRow([])


def _objects(run: RunFolder, row: PreviewedRow) -> list[str]:
    """The objects of the row, by the first of the pipeline's object columns that has any."""
    columns = [name for measure in measures_of(run).objects for name in measure.category.meta.root_names()]
    return next((list(row.values[name]) for name in columns if row.values.get(name)), [])


def _texts(row: PreviewedRow, reject: Mapping[str, Any], shown: AuditRow) -> list[TextView]:
    """The caption of the input, then the texts of the audit that say something else."""
    caption = row.values.get("caption") or reject.get("caption")
    texts = {str(caption): "caption"} if caption else {}
    for text in shown.texts:
        texts.setdefault(text.text, text.label)
    return [TextView(label=label, text=text) for text, label in texts.items()]


def _rejected_detections(reject: Mapping[str, Any]) -> dict[str, Any]:
    """What the detector found, if that made a stage reject the row."""
    try:
        return write_detections(read_detections(json.loads(reject.get("raw") or "")))
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}


def _image_of(run: RunFolder, row: PreviewedRow) -> str | None:
    """What opens the row's image: the one generated for it, or the one that it came with."""
    columns = dict.fromkeys(name for step in row.steps for name in image_columns(run, step.stage))
    generated_first = sorted(columns, key=lambda name: name != GENERATED_IMAGE)
    return next((image_reference(run, name, str(row.values[name])) for name in generated_first if row.values.get(name)), None)


def _step_view(run: RunFolder, step: PreviewStep) -> StepView:
    hidden = {"row_id", "raw"} if step.exchanges else {"row_id"}
    lines = [{name: flat(value) for name, value in row.items() if name not in hidden} for row in step.result.rows]
    return StepView(step.stage, step.rejected, [_without_folder(run, exchange) for exchange in step.exchanges], lines)


def _without_folder(run: RunFolder, exchange: Exchange) -> Exchange:
    """The exchange with paths that start from the run: its temporary folder is gone when the page is read."""
    folders = {f"{run.path}/", f"{run.path.resolve()}/"}

    def short(text: str) -> str:
        for folder in folders:
            text = text.replace(folder, "")
        return text

    return Exchange([{name: short(value) for name, value in message.items()} for message in exchange.sent], short(exchange.raw))
