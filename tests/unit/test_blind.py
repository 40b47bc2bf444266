"""A blind reader is no better than chance on balanced questions, and always right on the published format."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest

from shardmill.errors import UserError
from shardmill.language.lexicon import lexicon
from shardmill.models.text.rules.rephrase import paraphrase
from shardmill.negbench.create_mcq import CreateMcq
from shardmill.report.blind import Question, blind_baselines, read_questions, wilson
from shardmill.stage import Context

ROWS = 3_000


def questions(style: str, *, rephrased: bool = False) -> list[Question]:
    """Questions about objects of which each is more often a positive or more often a negative, as in real data."""
    rng = Random(0)
    names = list(lexicon().entries)[:300]

    def lists(common: list[str], rare: list[str]) -> list[str]:
        drawn = [rng.choice(common) if rng.random() < 0.7 else rng.choice(rare) for _ in range(4)]
        return list(dict.fromkeys(drawn))

    positives = [lists(names[:150], names[150:]) for _ in range(ROWS)]
    negatives = [[name for name in lists(names[150:], names[:150]) if name not in taken] for taken in positives]
    table = pl.DataFrame(
        {"row_id": range(ROWS), "positive_objects": map(json.dumps, positives), "negative_objects": map(json.dumps, negatives)}
    )
    made = CreateMcq({"style": style}, Context(seed=3)).transform(table).filter(pl.col("reject_reason").is_null())
    found = []
    for row in made.iter_rows(named=True):
        truths = tuple(json.loads(row["option_truths"]))
        texts = tuple(row[f"caption_{index}"] for index in range(4))
        if rephrased:
            texts = tuple(
                paraphrase({"sentence": text, "objects": truth, "order": "free"}, rng)["caption"]
                for text, truth in zip(texts, truths, strict=True)
            )
        found.append(Question(texts, truths, row["correct_answer"], row["row_id"] % 2))
    return found


@pytest.mark.parametrize("rephrased", [False, True])
def test_balanced_questions_give_nothing_away(rephrased: bool) -> None:
    asked = questions("balanced", rephrased=rephrased)
    assert len(asked) >= 2_000
    for baseline in blind_baselines(asked):
        if baseline.name != "object prior":
            spread = (baseline.high - baseline.low) / 2
            assert abs(baseline.accuracy - 0.25) <= max(0.03, spread), baseline


def test_the_published_format_is_answered_blindly() -> None:
    results = {baseline.name: baseline for baseline in blind_baselines(questions("original"))}
    assert results["odd one out"].accuracy > 0.95
    assert results["bag of words"].gives_away
    assert results["odd one out"].gives_away


def test_the_object_prior_tells_where_objects_have_sides() -> None:
    results = {baseline.name: baseline for baseline in blind_baselines(questions("balanced"))}
    assert results["object prior"].accuracy > 0.3


def test_wilson_is_wide_for_few_and_narrow_for_many() -> None:
    low, high = wilson(5, 20)
    assert low < 0.25 < high
    assert high - low > 0.3
    low, high = wilson(5_000, 20_000)
    assert high - low < 0.013


def test_a_table_that_holds_no_questions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"x\.csv, question 0"):
        read_questions(path)
