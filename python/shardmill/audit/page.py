"""The page on which people tick the statements of a sample; it saves the sheet that `read_sheet` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardmill.audit.sample import SHEET, AuditSample, SampledRow
from shardmill.audit.sheet import COLUMNS, sheet_rows
from shardmill.pages.cards import Card
from shardmill.pages.gallery import views
from shardmill.pages.html import render
from shardmill.pages.label_studio import VERDICTS
from shardmill.util.atomic import replacing


def audit_page(sample: AuditSample, rows: Sequence[SampledRow], title: str) -> str:
    """The page of a sample, as text: one file, with its images inside."""
    cards = [
        Card(
            row_id=each.row_id,
            sub_id=each.sub_id,
            stage=each.output.stage,
            outcome="accepted",
            image=each.image,
            boxes=each.shown.boxes,
            texts=each.shown.texts,
        )
        for each in rows
    ]
    statements: list[list[dict[str, object]]] = [[] for _ in rows]
    for at, statement in enumerate(sample.claims):
        statements[statement.unit].append({"at": at, "text": statement.claim})
    units = [
        {"output": each.output.kind, "view": view, "statements": own}
        for each, view, own in zip(rows, views(cards), statements, strict=True)
    ]
    sheet = {"id": sample.id, "columns": COLUMNS, "verdicts": VERDICTS, "rows": sheet_rows(sample.claims)}
    return render(
        "audit.html.j2",
        assets="audit",
        inline_styles=False,
        title=title,
        units=units,
        count=len(sample.claims),
        verdicts=VERDICTS,
        sheet=sheet,
        sheet_name=SHEET,
    )


def write_page(sample: AuditSample, rows: Sequence[SampledRow], path: Path, title: str) -> None:
    """Write the page of a sample."""
    with replacing(path) as file:
        file.write(audit_page(sample, rows, title).encode("utf-8"))
