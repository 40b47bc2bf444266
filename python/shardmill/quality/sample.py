"""The gallery: some rows that came out and some of every stage and reason that were rejected, drawn by seed and row."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from shardmill.pages.cards import Card, TextView
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.flow import RejectedRows, raw_value
from shardmill.quality.parts import PipelineQuality, boxes_of, decoded
from shardmill.quality.rules import Row
from shardmill.quality.sampling import RowSample
from shardmill.store.layout import generated_image_path
from shardmill.store.run_folder import INGEST
from shardmill.tables.parquet_images import check_embedded

MAX_REASONS = 200
MAX_CHARACTERS = 2_000


def cards_of(quality: PipelineQuality, rejected: list[RejectedRows], rows: int, examples: Collection[int] = ()) -> list[Card]:
    """The cards of the gallery, half of them of rejected rows.

    Args:
        quality: The pipeline's quality, which knows its texts and objects.
        rejected: Rejected rows of every stage and reason; each reason has at least one card.
        rows: About how many cards.
        examples: Rows that come besides, because findings refer to them.
    """
    if not quality.finished.manifests[INGEST]:
        return []
    count = max(rows // 2, min(len(rejected), MAX_REASONS)) if rows else 0
    accepted = _accepted_cards(quality, max(rows - min(count, rows // 2), 0), examples)
    return [*accepted, *_rejected_cards(quality, rejected, count)]


def _accepted_cards(quality: PipelineQuality, count: int, examples: Collection[int]) -> list[Card]:
    """Cards of rows that came out of the last stages, about equally many of each, and those of the examples."""
    finished = quality.finished
    leaves = [leaf for leaf in finished.run.leaves() if finished.manifests[leaf]]
    if not count or not leaves:
        return []
    wanted = {**dict.fromkeys(examples, ""), **_draw_rows(quality, leaves, count)}
    lines = {leaf: _decoded_lines(finished, leaf, finished.lines_of(leaf, wanted)) for leaf in leaves}
    cards = []
    for row_id, stage in sorted(wanted.items()):
        own = {leaf: lines[leaf].get(row_id, []) for leaf in leaves}
        reached = stage or next((leaf for leaf in leaves if own[leaf]), None)
        if reached is not None:
            cards.append(_accepted_card(quality, row_id, reached, own))
    return cards


def _draw_rows(quality: PipelineQuality, leaves: list[str], count: int) -> dict[int, str]:
    """`count` rows, about equally many of each last stage: the stage of each row_id."""
    drawn: dict[int, str] = {}
    for index, leaf in enumerate(leaves):
        share = count // len(leaves) + (index < count % len(leaves))
        sample = RowSample(count, (), quality.seed, "gallery")
        for batch in quality.finished.batches(leaf, ()):
            sample.add_batch(batch)
        frame = sample.frame()
        new = [row_id for row_id in ([] if frame is None else frame["row_id"].unique().sort()) if row_id not in drawn]
        drawn.update(dict.fromkeys(new[:share], leaf))
    return drawn


def _decoded_lines(finished: FinishedShards, stage: str, lines: dict[int, list[dict[str, Any]]]) -> dict[int, list[Row]]:
    kinds = finished.run.kinds(stage)
    return {row_id: [decoded(line, kinds) for line in own] for row_id, own in lines.items()}


def _accepted_card(quality: PipelineQuality, row_id: int, stage: str, lines: dict[str, list[Row]]) -> Card:
    row = next((own[0] for own in [lines.get(stage, []), *lines.values()] if own), {})
    present, absent = quality.objects(row)
    return Card(
        row_id=row_id,
        stage=stage,
        outcome="accepted",
        objects=list(dict.fromkeys([*present, *absent])),
        image=image_of(quality.finished, row),
        boxes=boxes_of(row.get("detections"), present, absent),
        texts=[*_input_texts(row, present, absent), *map(_shortened_view, quality.texts(lines))],
    )


def _input_texts(row: Row, present: list[str], absent: list[str]) -> list[TextView]:
    """The caption of the input, and the lists of objects."""
    texts = {"caption": row.get("caption"), "there": ", ".join(present), "not there": ", ".join(absent)}
    return [TextView(label=label, text=_shortened(text)) for label, text in texts.items() if text]


def _rejected_cards(quality: PipelineQuality, rejected: list[RejectedRows], count: int) -> list[Card]:
    """Cards of every stage and reason in turn, until there are `count`."""
    depth = max((len(each.rows) for each in rejected), default=0)
    in_turn = [(each.stage, each.rows[index]) for index in range(depth) for each in rejected if index < len(each.rows)]
    chosen: dict[str, list[dict[str, Any]]] = {}
    for stage, row in in_turn[:count]:
        chosen.setdefault(stage, []).append(row)
    return [card for stage in quality.finished.stages for card in _cards_of_stage(quality, stage, chosen.get(stage, []))]


def _cards_of_stage(quality: PipelineQuality, stage: str, rejects: list[dict[str, Any]]) -> Iterable[Card]:
    finished = quality.finished
    source = finished.run.after(stage)
    if not rejects:
        return
    ids = {each["row_id"] for each in rejects}
    lines = _decoded_lines(finished, source, finished.lines_of(source, ids)) if source else {}
    for each in sorted(rejects, key=lambda row: (row["reason"], row["row_id"], row.get("sub_id") or 0)):
        own = [line for line in lines.get(each["row_id"], []) if line.get("sub_id") == each.get("sub_id")]
        yield _rejected_card(quality, stage, each, {source or "": own})


def _rejected_card(quality: PipelineQuality, stage: str, reject: dict[str, Any], lines: dict[str, list[Row]]) -> Card:
    row = next((own[0] for own in lines.values() if own), {})
    present, absent = quality.objects(row)
    detections = row.get("detections") or raw_value(reject["raw"] or "")
    texts = [*_input_texts(row, present, absent), *map(_shortened_view, quality.texts(lines))]
    if reject["raw"]:
        texts.append(TextView(label="answer of the model", text=_shortened(reject["raw"]), kept=False, why=reject["reason"]))
    return Card(
        row_id=reject["row_id"],
        sub_id=reject.get("sub_id"),
        stage=stage,
        outcome="rejected",
        reason=reject["reason"],
        detail=_shortened(reject["detail"] or ""),
        objects=list(dict.fromkeys([*present, *absent])),
        image=image_of(quality.finished, row),
        boxes=boxes_of(detections, [], absent),
        texts=texts,
    )


def image_of(finished: FinishedShards, row: Row) -> str | None:
    """The reference to a row's image: the generated one, or that of the input; None if it has neither."""
    if row.get("generated_image"):
        return generated_image_path(finished.run.path, row["generated_image"])
    check_embedded(finished.run.plan, [row.get("image")], must_exist=False)
    return str(Path(finished.run.plan.input.image_root) / row["image"]) if row.get("image") else None


def _shortened_view(text: TextView) -> TextView:
    return text.model_copy(update={"text": _shortened(text.text)})


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
