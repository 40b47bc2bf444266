"""Rules on the object lists and the negated captions of NegBench (sections 1 and 2 of what good data is)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.language.polarity import check_negated
from shardmill.quality.object_lists import common_object_rule, object_rules
from shardmill.quality.rules import NEVER, QualityRule, Row, at_most, field_of_items

LISTS, CAPTIONS = "validate_objects", "caption_negated"
FORMS, CUES = field_of_items("negation_details", "form"), field_of_items("negation_details", "cue")


def contradicting_captions(row: Row) -> Iterator[str | None]:
    """For each negated caption, why it does not keep the positives affirmed and its negative denied."""
    for caption, detail in zip(row["negative_captions"] or [], row["negation_details"] or [], strict=False):
        problem = check_negated(caption, row["positive_objects"] or [], [detail["object"]])
        yield problem and f"{problem}: {caption}"


def checked_rule(stage: str) -> QualityRule:
    """The rule that no row passes on whose image the detector could not read; `stage` is the last that carries the flag."""
    return QualityRule(
        "detector.checked",
        "Every row was checked against its image.",
        NEVER,
        ("image_checked", "image"),
        ~pl.col("image_checked").fill_null(False),
        stage=stage,
        example=pl.lit("not checked: ") + pl.col("image").fill_null("(no image)"),
        fault="Some rows were not checked against their image.",
        advice="Rows passed on unverified (filter_objects.unverified=keep is for trials): their objects are what the caption "
        "says, and their negatives may well be in the image.",
    )


RULES = [
    *object_rules(LISTS, "positive_objects", "negative_objects", "caption"),
    common_object_rule(LISTS, "positive_objects", "objects that are there"),
    common_object_rule(LISTS, "negative_objects", "objects that are not there"),
    QualityRule(
        "captions.polarity",
        "Negated captions keep the positives affirmed and deny the negative.",
        NEVER,
        ("positive_objects", "negative_captions", "negation_details"),
        contradicting_captions,
        stage=CAPTIONS,
        fault="Some negated captions deny a positive, or do not deny the negative.",
        advice="Captions say the opposite of what they are taken for: wrong supervision. Run caption_negated again.",
    ),
    QualityRule(
        "captions.forms",
        "Negation first and affirmation first are about equally frequent.",
        at_most(0.65, 0.85),
        ("negative_captions", "negation_details"),
        FORMS,
        stage=CAPTIONS,
        counts="commonest",
        example=pl.col("negative_captions").list.join(" / "),
        fault="Most negations are in one place: at the beginning, or at the end.",
        advice="One form dominates: a model learns where a negation stands instead of what it denies.",
    ),
    QualityRule(
        "captions.cues",
        "No cue word makes most of the negations.",
        at_most(0.5, 0.8),
        ("negative_captions", "negation_details"),
        CUES,
        stage=CAPTIONS,
        counts="commonest",
        example=pl.col("negative_captions").list.join(" / "),
        fault="One word makes most of the negations.",
        advice="A model learns one word (“no”) instead of negation. Vary the template set or the prompt.",
    ),
]
