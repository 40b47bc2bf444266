"""The report of Antidote: images and their facts, questions of all kinds, and preference pairs (sections 1 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from shardmill.antidote.quality_preferences import LENGTH_RULE, PAIRS, PREFERRED, REJECTED, OpeningWords
from shardmill.antidote.quality_questions import (
    KINDS,
    POPE,
    QUESTION_RULES,
    QUESTIONS,
    Separability,
    pope_rules,
    pope_section,
    pope_tells,
    presupposition_texts,
    question_tells,
    questions_section,
)
from shardmill.pages.cards import TextView
from shardmill.pages.charts import Mark
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import GroundingClaims, GroundingScores, grounding_rules
from shardmill.quality.images import image_rules
from shardmill.quality.inputs import input_rules
from shardmill.quality.measured_sections import CategoryBars, MeasuredSection, NumberHistogram
from shardmill.quality.object_lists import ObjectFrequencies, common_object_rule, object_rules
from shardmill.quality.parts import PipelineQuality
from shardmill.quality.rules import Row
from shardmill.quality.texts import Texts, TextsSection

FACTS = "check_facts"
PRESENT, ABSENT = "verified_present", "verified_absent"


class AntidoteQuality(PipelineQuality):
    """All that is measured of an Antidote run, as far as it has come."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, seed)
        self.rules = [*input_rules(finished.run, "caption"), *image_rules(finished.run, "generate_images")]
        texts: list[Texts] = []
        if finished.has(FACTS):
            self._add_facts()
        if finished.has(QUESTIONS):
            texts += [presupposition_texts(finished, kind, seed) for kind in KINDS]
            self.parts += [questions_section(finished), Separability(finished, seed), *question_tells(finished, seed)]
        if finished.has(POPE):
            self.parts += [pope_section(finished), *pope_tells(finished, seed)]
        if finished.has("ask_descriptions"):
            texts.append(_descriptions(finished, seed))
        if finished.has(PAIRS):
            self.parts += [_preferences(finished), OpeningWords(finished, seed)]
        self.rules += [*QUESTION_RULES, *pope_rules(finished.run), LENGTH_RULE]
        self.parts += [*texts, TextsSection(texts)]

    def _add_facts(self) -> None:
        finished = self.finished
        options = finished.run.stage(FACTS).options
        claims = GroundingClaims("present", "absent", PRESENT, ABSENT, options["present_above"], options["absent_below"])
        scene = "scene_caption" if finished.has(FACTS, "scene_caption") else None
        self.rules += [
            *grounding_rules(FACTS, claims),
            *object_rules(FACTS, PRESENT, ABSENT, scene),
            common_object_rule(FACTS, PRESENT, "objects that are there"),
            common_object_rule(FACTS, ABSENT, "objects that are not there"),
        ]
        self.parts += [
            GroundingScores(finished, FACTS, claims, self.seed),
            ObjectFrequencies(finished, FACTS, PRESENT, "objects that are there"),
            ObjectFrequencies(finished, FACTS, ABSENT, "objects that are not there"),
        ]

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        present = row.get(PRESENT) or row.get("present") or []
        return present, row.get(ABSENT) or row.get("absent") or []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        rows = [row for own in lines.values() for row in own]
        if not rows:
            return []
        return [*_scene_views(rows[0]), *_question_views(rows[0]), *(view for row in rows for view in _answer_views(row))]


def _scene_views(row: Row) -> Iterator[TextView]:
    for label, column in (("scene", "scene_caption"), ("prompt", "prompt"), ("negative prompt", "prompt_neg")):
        if row.get(column):
            yield TextView(label=label, text=row[column])
    for name, fact in (row.get("dropped_facts") or {}).items():
        why = f"{fact['reason']} ({fact['score']:g})"
        yield TextView(label=f"dropped: {fact['list']}", text=name, kept=False, why=why)


def _question_views(row: Row) -> Iterator[TextView]:
    for each in row.get("questions") or []:
        is_good = each["verdict"] == "pass"
        why = f"about {each['object']}, {each['form']}" if is_good else each["verdict"]
        yield TextView(label=each["kind"].upper(), text=each["question"] or "(no question)", kept=is_good, why=why)
    for each in row.get("pope") or []:
        yield TextView(label="POPE", text=each["question"], why=f"{each['answer']} ({each['draw']})")
    if row.get("description"):
        yield TextView(label="description", text=row["description"]["question"])


def _answer_views(line: dict[str, Any]) -> list[TextView]:
    """The two answers of a line, the preferred one first."""
    if line.get("response"):
        question = f"{line['query_kind'].upper()}: {line['query']}"
        return [
            TextView(label="preferred answer", text=line["response"], why=question),
            TextView(label="rejected answer", text=line["rejected_response"], kept=False, why=question),
        ]
    both = (("answer", "answer"), ("answer with hint", "answer_hint"))
    return [TextView(label=label, text=line[column], why=line["query"]) for label, column in both if line.get(column)]


def _descriptions(finished: FinishedShards, seed: int) -> Texts:
    """Requests for a description, which should be worded in several ways."""
    text, names = pl.col("description").str.json_path_match("$.question"), ("desc", "description requests")
    return Texts(finished, "ask_descriptions", *names, seed, text, pattern=lambda text, row: text, copies=None)


def _preferences(finished: FinishedShards) -> MeasuredSection:
    too_alike = finished.run.stage(PAIRS).options.get("most_alike", 0.9)
    return MeasuredSection(
        finished,
        PAIRS,
        "preferences",
        "Preference pairs",
        [
            NumberHistogram(
                "preferences.words",
                "Length of the answers",
                "words",
                {"preferred": PREFERRED, "rejected": REJECTED},
                (0, 100, 100),
                "Bad: two humps far apart.",
            ),
            NumberHistogram(
                "preferences.alike",
                "How alike the two answers are",
                "cosine",
                {"pairs": pl.col("answers_alike")},
                (0, 1, 50),
                "Bad: most pairs just below the mark, which differ in little.",
                [Mark(label="too alike", at=too_alike)],
            ),
            CategoryBars("preferences.kinds", "Pairs by kind of question", "kind", pl.col("query_kind").str.to_uppercase()),
        ],
        {"preference pairs": pl.col("query_kind").is_not_null()},
    )
