"""The page on which people tick the claims of a sample; it exports the sheet that `audit_sheet` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardmill.audit.draw import SHEET, AuditSample, Drawn
from shardmill.audit.sheet import COLUMNS, VERDICTS, sheet_rows
from shardmill.pages.cards import Card
from shardmill.pages.gallery import views
from shardmill.pages.html import render
from shardmill.store.atomic import replacing


def audit_page(sample: AuditSample, drawn: Sequence[Drawn], title: str) -> str:
    """The page of a sample, as text: one file, with its pictures inside."""
    cards = [
        Card(
            row_id=each.row_id,
            sub_id=each.sub_id,
            stage=each.output.stage,
            outcome="accepted",
            image=each.image,
            boxes=each.item.boxes,
            texts=each.item.texts,
        )
        for each in drawn
    ]
    claims: list[list[dict[str, object]]] = [[] for _ in drawn]
    for at, claim in enumerate(sample.claims):
        claims[claim.unit].append({"at": at, "text": claim.claim})
    units = [
        {"output": each.output.kind, "view": view, "claims": own}
        for each, view, own in zip(drawn, views(cards), claims, strict=True)
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


def write_page(sample: AuditSample, drawn: Sequence[Drawn], path: Path, title: str) -> None:
    """Write the page of a sample."""
    with replacing(path) as file:
        file.write(audit_page(sample, drawn, title).encode("utf-8"))
