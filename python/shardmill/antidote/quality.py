"""Antidote: pictures and their facts, questions of all kinds, and preference pairs (sections 1 and 4 of what good data is)."""

from __future__ import annotations

from typing import Any

from shardmill.antidote.quality_preferences import Preferences
from shardmill.antidote.quality_questions import Descriptions, Pope, Presuppositions
from shardmill.language.object_names import conflict, distinct, form_problem
from shardmill.language.relations import mentions
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import Grounding, GroundingClaims
from shardmill.quality.images import ImageChecks
from shardmill.quality.inputs import Inputs
from shardmill.quality.judging import example, never
from shardmill.quality.model import QualityFinding, TextView
from shardmill.quality.objects_and_texts import Objects, TextsSection
from shardmill.quality.parts import CHECKED_ROWS, PipelineQuality, Row, Rows


class Antidote(PipelineQuality):
    """All that is measured of an Antidote run, as far as it has come."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        super().__init__(standing, seed)
        self.parts = [Inputs(standing, ("caption",))]
        texts = []
        if standing.has("generate_images"):
            self.parts.append(ImageChecks(standing, "generate_images", seed))
        if standing.has("check_facts"):
            options = standing.run.stage("check_facts").options
            claims = GroundingClaims(
                "present", "absent", "verified_present", "verified_absent", options["present_above"], options["absent_below"]
            )
            self.parts += [
                Grounding(standing, "check_facts", claims, seed),
                Facts(standing, seed),
                Objects(standing, "check_facts", "verified_present", "objects that are there"),
                Objects(standing, "check_facts", "verified_absent", "objects that are not there"),
            ]
        if standing.has("judge_questions"):
            asked = Presuppositions(standing, seed)
            texts += asked.texts
            self.parts += [asked, *asked.texts]
        if standing.has("ask_pope"):
            self.parts.append(Pope(standing, seed))
        if standing.has("ask_descriptions"):
            described = Descriptions(standing, seed)
            texts.append(described)
            self.parts.append(described)
        if standing.has("pair_preferences"):
            self.parts.append(Preferences(standing, seed))
        self.parts.append(TextsSection(texts))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        there = row.get("verified_present") or row.get("present") or []
        return there, row.get("verified_absent") or row.get("absent") or []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        rows = [row for own in lines.values() for row in own]
        if not rows:
            return []
        row, found = rows[0], []
        for label, column in (("scene", "scene_caption"), ("prompt", "prompt"), ("negative prompt", "prompt_neg")):
            if row.get(column):
                found.append(TextView(label=label, text=row[column]))
        for name, fact in (row.get("dropped_facts") or {}).items():
            found.append(
                TextView(label=f"dropped: {fact['list']}", text=name, kept=False, why=f"{fact['reason']} ({fact['score']:g})")
            )
        for each in row.get("questions") or []:
            good = each["verdict"] == "pass"
            why = f"about {each['object']}, {each['form']}" if good else each["verdict"]
            found.append(TextView(label=each["kind"].upper(), text=each["question"] or "(not asked)", kept=good, why=why))
        for each in row.get("pope") or []:
            found.append(TextView(label="POPE", text=each["question"], why=f"{each['answer']} ({each['draw']})"))
        if row.get("description"):
            found.append(TextView(label="description", text=row["description"]["question"]))
        for line in rows:
            found += _answers(line)
        return found


def _answers(line: dict[str, Any]) -> list[TextView]:
    """The two answers of a line, the preferred one first."""
    if line.get("response"):
        asked = f"{line['query_kind'].upper()}: {line['query']}"
        return [
            TextView(label="preferred answer", text=line["response"], why=asked),
            TextView(label="rejected answer", text=line["rejected_response"], kept=False, why=asked),
        ]
    both = (("answer", "answer"), ("answer with hint", "answer_hint"))
    return [TextView(label=label, text=line[column], why=line["query"]) for label, column in both if line.get(column)]


class Facts(Rows):
    """The verified lists by the rules of section 1, on a sample."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._scenes = standing.has("check_facts", "scene_caption")
        columns = ("scene_caption", "verified_present", "verified_absent")
        super().__init__(standing, "check_facts", columns, CHECKED_ROWS, seed, "facts")

    def findings(self) -> list[QualityFinding]:
        unnamed, unsound, clashing = [], [], []
        there_count = absent_count = 0
        for row in self.rows:
            there, absent = row["verified_present"] or [], row["verified_absent"] or []
            scene = row.get("scene_caption") or ""
            there_count, absent_count = there_count + len(there), absent_count + len(absent)
            unnamed += [(row, f"{name} is not in: {scene}") for name in there if not mentions(scene, name)]
            for names in (there, absent):
                unsound += [(row, f"{name}: {problem}") for name in names if (problem := form_problem(name)) is not None]
                unsound += [(row, f"{name} comes twice") for name in set(names) - set(distinct(names))]
            clashing += [(row, f"{name}: {why}") for name in absent if (why := conflict(name, there, scene)) is not None]
        found = [
            never(
                "objects.form",
                "Names are those of things, without quantity or opinion words, and none comes twice.",
                len(unsound),
                there_count + absent_count,
                means="Names such as “two big dogs” or “dogs” beside “dog” make odd questions.",
                examples=[example(row["row_id"], text) for row, text in unsound[:5]],
            ),
            never(
                "negatives.absent",
                "No absent object is a present one, a synonym, kind or part of one, or named in the scene.",
                len(clashing),
                absent_count,
                means="What is said to be absent is there after all: questions about it teach what is false.",
                examples=[example(row["row_id"], text) for row, text in clashing[:5]],
            ),
        ]
        if self._scenes:
            named = never(
                "objects.named",
                "Present objects are named in the scene that was painted.",
                len(unnamed),
                there_count,
                means="The picture was not asked for them, and the detector may be wrong about them.",
                examples=[example(row["row_id"], text) for row, text in unnamed[:5]],
            )
            found.insert(0, named)
        return found
