"""The report of NegBench: object lists, negated captions and multiple-choice questions (sections 1 to 3 of what good data is)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.language.relations import mentions
from shardmill.negbench.quality_plausible import PlausibleNegatives
from shardmill.negbench.quality_questions import QuestionQuality
from shardmill.negbench.quality_rules import CAPTIONS, CUES, FORMS, LISTS, RULES, checked_rule
from shardmill.negbench.quality_sentences import caption_sentence_rules
from shardmill.pages.cards import TextView
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.frequency_tell import MIN_CAPTIONS, FrequencyTell
from shardmill.quality.grounding import GroundingClaims, GroundingScores, grounding_rules
from shardmill.quality.inputs import input_rules
from shardmill.quality.measured_sections import CategoryBars, MeasuredSection
from shardmill.quality.object_lists import ObjectFrequencies
from shardmill.quality.one_sided import OneSidedNames
from shardmill.quality.parts import PipelineQuality, lists
from shardmill.quality.rules import Row, field_of_items
from shardmill.quality.text_patterns import skeleton, words
from shardmill.quality.texts import Texts, TextsSection


class NegbenchQuality(PipelineQuality):
    """All that is measured of a NegBench run, as far as it has come."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, seed)
        self.rules = [*input_rules(finished.run, "caption", "image"), *RULES, *caption_sentence_rules(LISTS, CAPTIONS)]
        texts: list[Texts] = []
        if finished.has("filter_objects"):
            self._add_grounding()
        if finished.has(LISTS):
            self.parts += [
                PlausibleNegatives(finished, LISTS, seed),
                ObjectFrequencies(finished, LISTS, "positive_objects", "objects that are there"),
                ObjectFrequencies(finished, LISTS, "negative_objects", "objects that are not there"),
            ]
        if finished.has(CAPTIONS):
            texts.append(_caption_texts(finished, seed))
            missing = field_of_items("negation_details", "object")
            sides = lists("positive_objects"), missing
            self.parts += [
                _negations(finished),
                texts[-1],
                FrequencyTell(finished, CAPTIONS, "captions", "negated captions", *sides, "objects", seed),
                OneSidedNames(finished, CAPTIONS, "captions", "negated captions", *sides, MIN_CAPTIONS),
            ]
        if finished.has("create_mcq"):
            questions = QuestionQuality(finished, seed)
            texts.append(questions.texts)
            self.rules += questions.rules
            self.parts += [questions, *questions.parts]
        self.parts.append(TextsSection(texts))

    def _add_grounding(self) -> None:
        finished = self.finished
        stage = LISTS if finished.has(LISTS) else "filter_objects"  # one file less to read
        options = finished.run.stage("filter_objects").options
        thresholds = options["present_above"], options["absent_below"]
        claims = GroundingClaims("objects", "negatives", "seen_objects", "unseen_negatives", *thresholds)
        self.rules += [checked_rule(stage), *grounding_rules(stage, claims)]
        self.parts.append(GroundingScores(finished, stage, claims, self.seed))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        present = row.get("positive_objects") or row.get("seen_objects") or row.get("objects") or []
        absent = row.get("negative_objects") or row.get("unseen_negatives") or row.get("negatives") or []
        return present, absent

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        stage = next((name for name in ("paraphrase_mcq", "create_mcq") if lines.get(name)), None)
        found = [view for row in lines.get(CAPTIONS, [])[:1] for view in _caption_views(row)]
        found += [view for row in (lines[stage] if stage else ()) for view in _option_views(row)]
        dropped = [row["dropped_objects"] for own in lines.values() for row in own if row.get("dropped_objects")]
        for name, why in (dropped[-1] if dropped else {}).items():
            found.append(TextView(label="dropped object", text=name, kept=False, why=str(why)))
        return found


def _caption_views(row: Row) -> Iterator[TextView]:
    for caption, detail in zip(row["negative_captions"] or [], row["negation_details"] or [], strict=False):
        why = f"{detail['object']}: {detail['form'].replace('_', ' ')}, {detail['cue']}"
        yield TextView(label="negated caption", text=caption, why=why)


def _option_views(row: Row) -> Iterator[TextView]:
    for index, letter in enumerate("ABCD"):
        text = row.get(f"paraphrase_{index}") or row[f"caption_{index}"]
        is_right = index == row["correct_answer"]
        why = f"the true option ({row['correct_answer_template']})" if is_right else "a false option"
        yield TextView(label=f"question {row['sub_id']}, option {letter}", text=text, kept=is_right, why=why)


def _negations(finished: FinishedShards) -> MeasuredSection:
    return MeasuredSection(
        finished,
        CAPTIONS,
        "negation",
        "Negations",
        [
            CategoryBars("negation.forms", "Forms", "form", FORMS, "Bad: one bar far above the other."),
            CategoryBars("negation.cues", "Cue words", "cue", CUES, "Bad: one word in most negations."),
        ],
        facts={"negated captions": pl.col("negative_captions").list.len()},
    )


def _caption_texts(finished: FinishedShards, seed: int) -> Texts:
    """The negated captions as texts; their pattern is the words around the denied object."""
    captions, keep = lists("negative_captions"), {"negation_details": pl.col("negation_details")}
    return Texts(finished, CAPTIONS, "captions", "negated captions", seed, captions, keep=keep, pattern=around_negation)


def around_negation(text: str, row: Row) -> str:
    """The words around the denied object: what a template for negations leaves, whatever the caption.

    >>> around_negation("A dog runs. There is no cat in the image.", {"negation_details": [{"object": "cat"}]})
    'there is no _ in image'
    """
    for detail in row["negation_details"] or []:
        for start, end in mentions(text, detail["object"])[:1]:
            return " ".join([*words(skeleton(text[:start]))[-3:], "_", *words(skeleton(text[end:]))[:2]])
    return skeleton(text)
