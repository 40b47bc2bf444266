"""The gallery: some rows that came out and some of every stage and reason that were rejected, drawn by seed and row."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.flow import Rejected, raw_value
from shardmill.quality.measures import RowSample
from shardmill.quality.model import Card, TextView
from shardmill.quality.parts import PipelineQuality, Row, boxes_of, decoded
from shardmill.store.layout import generated_image_path
from shardmill.store.run_folder import INGEST
from shardmill.tables.parquet_images import check_embedded

MAX_REASONS = 200
CUT = 2_000


def cards_of(pipeline: PipelineQuality, rejected: list[Rejected], rows: int, shown: Collection[int] = ()) -> list[Card]:
    """About `rows` cards, half of them of rejected rows, and at least one of every reason; and the rows `shown` elsewhere."""
    standing = pipeline.standing
    wanted = max(rows // 2, min(len(rejected), MAX_REASONS)) if rows else 0
    out = _accepted(pipeline, max(rows - min(wanted, rows // 2), 0), shown)
    return [*out, *_rejected(pipeline, rejected, wanted)] if standing.manifests[INGEST] else []


def _accepted(pipeline: PipelineQuality, count: int, shown: Collection[int]) -> list[Card]:
    """Cards of rows that came out of the last stages; of each of these about equally many, with all lines of a row. Those
    `shown` elsewhere are there too.
    """
    standing = pipeline.standing
    leaves = [leaf for leaf in standing.run.leaves() if standing.manifests[leaf]]
    if not count or not leaves:
        return []
    drawn: dict[int, str] = {}
    for place, leaf in enumerate(leaves):
        share = count // len(leaves) + (place < count % len(leaves))
        sample = RowSample(count, (), pipeline.seed, "gallery")
        for batch in standing.batches(leaf, ()):
            sample.look(batch)
        frame = sample.frame()
        fresh = [row_id for row_id in ([] if frame is None else frame["row_id"].unique().sort()) if row_id not in drawn]
        drawn.update(dict.fromkeys(fresh[:share], leaf))
    wanted = {**dict.fromkeys(shown, ""), **drawn}
    lines = {leaf: _decoded(standing, leaf, standing.lines_of(leaf, wanted)) for leaf in leaves}
    cards = []
    for row_id, stage in sorted(wanted.items()):
        own = {leaf: lines[leaf].get(row_id, []) for leaf in leaves}
        reached = stage or next((leaf for leaf in leaves if own[leaf]), None)
        if reached is not None:
            cards.append(_card(pipeline, row_id, reached, own))
    return cards


def _decoded(standing: FinishedShards, stage: str, lines: dict[int, list[dict[str, Any]]]) -> dict[int, list[Row]]:
    kinds = standing.run.kinds(stage)
    return {row_id: [decoded(line, kinds) for line in own] for row_id, own in lines.items()}


def _card(pipeline: PipelineQuality, row_id: int, stage: str, lines: dict[str, list[Row]]) -> Card:
    row = next((own[0] for own in [lines.get(stage, []), *lines.values()] if own), {})
    there, not_there = pipeline.objects(row)
    return Card(
        row_id=row_id,
        stage=stage,
        fate="out",
        objects=list(dict.fromkeys([*there, *not_there])),
        image=image_of(pipeline.standing, row),
        boxes=boxes_of(row.get("detections"), there, not_there),
        texts=[*_given(row, there, not_there), *map(_cut, pipeline.texts(lines))],
    )


def _given(row: Row, there: list[str], not_there: list[str]) -> list[TextView]:
    """The caption that came in, and the lists of objects."""
    found = [TextView(label="caption", text=_short(row["caption"]))] if row.get("caption") else []
    found += [TextView(label="there", text=", ".join(there))] if there else []
    return found + ([TextView(label="not there", text=", ".join(not_there))] if not_there else [])


def _rejected(pipeline: PipelineQuality, rejected: list[Rejected], count: int) -> list[Card]:
    """Cards in turn of every stage and reason, until there are `count`."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    place, taken = 0, 0
    while taken < count and any(place < len(each.rows) for each in rejected):
        for each in rejected:
            if place < len(each.rows) and taken < count:
                chosen.setdefault(each.stage, []).append(each.rows[place])
                taken += 1
        place += 1
    cards: list[Card] = []
    for stage in pipeline.standing.stages:
        cards += _cards_of_stage(pipeline, stage, chosen.get(stage, []))
    return cards


def _cards_of_stage(pipeline: PipelineQuality, stage: str, rejects: list[dict[str, Any]]) -> Iterable[Card]:
    standing = pipeline.standing
    source = standing.run.after(stage)
    if not rejects:
        return
    ids = {each["row_id"] for each in rejects}
    lines = _decoded(standing, source, standing.lines_of(source, ids)) if source else {}
    for each in sorted(rejects, key=lambda row: (row["reason"], row["row_id"], row.get("sub_id") or 0)):
        own = [line for line in lines.get(each["row_id"], []) if line.get("sub_id") == each.get("sub_id")]
        row = own[0] if own else {}
        there, not_there = pipeline.objects(row)
        detections = row.get("detections") or raw_value(each["raw"] or "")
        texts = [*_given(row, there, not_there), *map(_cut, pipeline.texts({source or "": own}))]
        if each["raw"]:
            texts.append(TextView(label="answer of the model", text=_short(each["raw"]), kept=False, why=each["reason"]))
        yield Card(
            row_id=each["row_id"],
            sub_id=each.get("sub_id"),
            stage=stage,
            fate="rejected",
            reason=each["reason"],
            detail=_short(each["detail"] or ""),
            objects=list(dict.fromkeys([*there, *not_there])),
            image=image_of(standing, row),
            boxes=boxes_of(detections, [], not_there),
            texts=texts,
        )


def image_of(standing: FinishedShards, row: Row) -> str | None:
    """The reference to a row's picture: the painted one, or that of the input."""
    if row.get("generated_image"):
        return generated_image_path(standing.run.path, row["generated_image"])
    check_embedded(standing.run.plan, [row.get("image")], must_exist=False)
    return str(Path(standing.run.plan.input.image_root) / row["image"]) if row.get("image") else None


def _cut(text: TextView) -> TextView:
    return text.model_copy(update={"text": _short(text.text)})


def _short(text: str) -> str:
    return text if len(text) <= CUT else text[: CUT - 1] + "…"
