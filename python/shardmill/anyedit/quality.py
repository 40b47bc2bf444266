"""The report of AnyEdit: concepts and backgrounds, scene captions, edit instructions, chains, implicit edits (section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from shardmill.anyedit.quality_edits import CHAIN_RULES, OBJECT, VERB, edit_rules
from shardmill.language.object_names import distinct
from shardmill.pages.cards import TextView
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import DETECTIONS, DetectionScores
from shardmill.quality.images import image_rules
from shardmill.quality.inputs import input_rules
from shardmill.quality.measured_sections import CategoryBars, MeasuredSection, NumberHistogram
from shardmill.quality.object_lists import ObjectFrequencies, common_object_rule
from shardmill.quality.parts import PipelineQuality
from shardmill.quality.rules import NEVER, QualityRule, Row, at_most, items_of
from shardmill.quality.text_patterns import skeleton
from shardmill.quality.texts import Texts, TextsSection

BACKGROUNDS, CHAINS, IMPLICIT = "propose_backgrounds", "chain_instructions", "write_implicit"
TURNS = pl.List(pl.Struct({"turn": pl.Int64, "edit_type": pl.String}))


def repeated_backgrounds(row: Row) -> Iterator[str | None]:
    """For each background of a concept, whether it repeats another."""
    names = row["all_backgrounds"] or []
    repeated = set(names) - set(distinct(names))
    yield from (f"{row['concept']}: {name}" if name in repeated else None for name in names)


BACKGROUND_RULE = QualityRule(
    "backgrounds.distinct",
    "No background of a concept comes twice.",
    NEVER,
    ("concept", "all_backgrounds"),
    repeated_backgrounds,
    stage=BACKGROUNDS,
    fault="Some concepts have the same background twice.",
    advice="A concept's captions have the same background again and again.",
)


class AnyeditQuality(PipelineQuality):
    """All that is measured of an AnyEdit run of any of its pipeline files, as far as it has come."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, seed)
        self.rules = [
            *input_rules(finished.run, "caption", "image"),
            BACKGROUND_RULE,
            *image_rules(finished.run, "generate_images"),
            common_object_rule("select_captions", "input_objects", "objects of the captions"),
            *CHAIN_RULES,
        ]
        texts: list[Texts] = []
        if finished.has(BACKGROUNDS, "all_backgrounds"):
            self.parts += [_backgrounds(finished), ObjectFrequencies(finished, BACKGROUNDS, "all_backgrounds", "backgrounds")]
        if finished.has("write_captions", "scene_caption"):
            texts.append(_scenes(finished, seed))
        if finished.has("ground_objects", DETECTIONS):
            self.parts.append(DetectionScores(finished, "ground_objects", seed))
        if finished.has("select_captions", "input_objects"):
            self.parts.append(ObjectFrequencies(finished, "select_captions", "input_objects", "objects of the captions"))
        stage = next((name for name in ("judge_instructions", "write_instructions") if finished.has(name)), None)
        if stage is not None:
            self.rules += edit_rules(stage)
            texts.append(_instructions(finished, stage, seed))
            self.parts.append(EditsSection(finished, stage))
        if finished.has(CHAINS):
            self.parts.append(_chains(finished))
        if finished.has(IMPLICIT):
            texts.append(_implicit_edits(finished, seed))
            edits = items_of("implicit", "instruction").list.len()
            self.parts.append(MeasuredSection(finished, IMPLICIT, "implicit", "Implicit edits", [], {"implicit edits": edits}))
        self.parts += [*texts, TextsSection(texts)]

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        return row.get("input_objects") or row.get("caption_objects") or [], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        rows = [row for own in lines.values() for row in own]
        found: list[TextView] = []
        for label, column in (("concept", "concept"), ("scene", "scene_caption"), ("start of the edits", "input")):
            text = next((row[column] for row in rows if row.get(column)), None)
            found += [TextView(label=label, text=text)] if text else []
        return [*found, *(view for row in rows for view in _edit_views(row))]


def _edit_views(row: Row) -> Iterator[TextView]:
    if row.get("all_backgrounds"):
        yield TextView(label="backgrounds", text=", ".join(row["all_backgrounds"]))
    if row.get("edit"):
        yield TextView(label=row["edit_type"], text=row["edit"], why=row.get("instruction_verdict") or "")
        yield TextView(label=f"{row['edit_type']}: caption after it", text=row["output"] or "(unknown)")
    for turn in row.get("chain") or []:
        yield TextView(label=f"chain, turn {turn['turn']}: {turn['edit_type']}", text=turn["edit"], why=turn["output"] or "")
    for each in row.get("implicit") or []:
        why = f"{each['original_caption']} → {each['target_caption']}"
        yield TextView(label="implicit edit", text=each["instruction"], why=why)


class EditsSection(MeasuredSection):
    """The section on edit types, verbs and objects; the number of types is counted for the top of the page."""

    def __init__(self, finished: FinishedShards, stage: str) -> None:
        kind = pl.col("edit_type")
        self._types = CategoryBars(
            "edits.types", "Types", "type", kind, "Bad: types that are missing, or one that is far more frequent than all others."
        )
        figures = [
            self._types,
            CategoryBars("edits.verbs", "First words", "verb", VERB, "Bad: one verb in most instructions."),
            CategoryBars("edits.objects", "Edited objects", "object", OBJECT, "Bad: few objects in most instructions."),
        ]
        super().__init__(finished, stage, "edits", "Edit instructions", figures, {"instructions": kind.is_not_null()})

    def facts(self) -> dict[str, str]:
        return {"instructions": f"{super().facts()['instructions']} of {self._types.distinct} types"}


def _backgrounds(finished: FinishedShards) -> MeasuredSection:
    sizes = NumberHistogram(
        "backgrounds.number",
        "Backgrounds of a concept",
        "backgrounds",
        {"concepts": pl.col("all_backgrounds").list.len()},
        (0, 60, 60),
    )
    return MeasuredSection(finished, BACKGROUNDS, "backgrounds", "Backgrounds", [sizes])


def _chains(finished: FinishedShards) -> MeasuredSection:
    chain = pl.col("chain").str.json_decode(TURNS)
    turns = pl.when(chain.list.len() > 0).then(pl.format("{} turns", chain.list.len()))
    types = chain.list.eval(pl.element().struct.field("edit_type"))
    return MeasuredSection(
        finished,
        CHAINS,
        "chains",
        "Chains",
        [
            CategoryBars("chains.turns", "Length of the chains", "length", turns, "Bad: most chains end early."),
            CategoryBars(
                "chains.types", "Types of their turns", "type", types, "Bad: one type is far more frequent than all others."
            ),
        ],
        {"chains": chain.list.len() > 0},
    )


def _scenes(finished: FinishedShards, seed: int) -> Texts:
    return Texts(
        finished,
        "write_captions",
        "scenes",
        "scene captions",
        seed,
        pl.col("scene_caption"),
        keep={"caption_objects": pl.col("caption_objects")},
        pattern=lambda text, row: skeleton(text, row["caption_objects"] or []),
        copies=at_most(0.02, 0.1),
    )


def _instructions(finished: FinishedShards, stage: str, seed: int) -> Texts:
    return Texts(
        finished,
        stage,
        "edits",
        "instructions",
        seed,
        pl.col("edit"),
        keep={"details": pl.col("details")},
        pattern=_instruction_pattern,
        copies=None,
        commonest=at_most(0.03, 0.1),
        one_pattern=at_most(0.1, 0.3),
    )


def _instruction_pattern(text: str, row: Row) -> str:
    """The instruction with "_" for its objects, its own among them."""
    details: dict[str, Any] = row["details"] or {}
    names = [details[name] for name in ("edited_object", "object", "new_object") if isinstance(details.get(name), str)]
    return skeleton(text, names)


def _implicit_edits(finished: FinishedShards, seed: int) -> Texts:
    """Implicit edits as texts; the scene is part of the text, because the questions are alike."""
    item = pl.element().struct
    text = items_of("implicit", "original_caption", "instruction").list.eval(
        item.field("original_caption") + " " + item.field("instruction")
    )
    copies, one_pattern = at_most(0.2, 0.5), at_most(0.1, 0.3)
    return Texts(finished, IMPLICIT, "implicit", "implicit edits", seed, text, copies=copies, one_pattern=one_pattern)
