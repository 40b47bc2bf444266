"""Verdicts on concepts: a strict yes or no with its reason; what form gives away never reaches the model."""

from __future__ import annotations

import json
from random import Random
from typing import Any, get_args

import pytest

from shardmill.anyedit.concept_answers import ConceptVerdict
from shardmill.anyedit.judge_concepts import JudgeConcepts, fault
from shardmill.core.prompts import load_template
from shardmill.core.stage import Answer, Reject
from shardmill.embedded.rules.concepts import judge_concept
from shardmill.embedded.rules.engine import RulesModel
from shardmill.models.contract import Reply

REASONS = get_args(ConceptVerdict.model_fields["reason"].annotation)


def judged(concept: str, answer: str) -> Any:
    """What becomes of a concept when the model answers this."""
    stage, row = JudgeConcepts(), {"row_id": 1, "concept": concept}
    (ask,) = stage.ask(row, Random(0))
    value = stage.parse(Reply("", answer))
    problem = ask.check(value) if ask.check else None
    return problem or stage.accept(row, [Answer(ask, value)])


def verdict(reason: str, word: str) -> str:
    return json.dumps({"reason": reason, "verdict": word})


def test_yes_passes_and_no_is_rejected_with_its_reason() -> None:
    assert judged("kayak", verdict("none", "yes")) == {"concept_verdict": "pass"}
    for reason in REASONS:
        if reason != "none":
            assert judged("kayak", verdict(reason, "no")) == Reject(f"concept judged: {reason}", "by the model")


@pytest.mark.parametrize(("reason", "word"), [("none", "no"), ("not visible", "yes")])
def test_a_verdict_that_its_reason_denies_is_asked_for_again(reason: str, word: str) -> None:
    assert judged("kayak", verdict(reason, word)) == "verdict and reason disagree"


@pytest.mark.parametrize("word", ["Not really", "yes and no", "maybe", "nay, clearly", "y", ""])
def test_only_yes_and_no_are_verdicts(word: str) -> None:
    with pytest.raises(ValueError):
        judged("kayak", verdict("none", word))


@pytest.mark.parametrize(
    "answer",
    [
        "Yes.",
        "",
        "{}",
        '{"verdict": "yes"}',
        '{"reason": "yes", "verdict": "yes"}',
        "[1]",
        '{"reason": {"a": 1}, "verdict": "yes"}',
    ],
)
def test_other_answers_are_malformed(answer: str) -> None:
    with pytest.raises(ValueError):
        judged("kayak", answer)


def test_case_and_marks_around_a_word_do_not_matter() -> None:
    assert judged("kayak", verdict(" None.", "Yes!")) == {"concept_verdict": "pass"}


@pytest.mark.parametrize(
    ("concept", "found"),
    [
        ("Boeing 747", "proper noun"),
        ("f-16", "proper noun"),
        ("toyota camry", "proper noun"),
        ("Eiffel Tower", "proper noun"),
        ("x", "unclear"),
        ("", "unclear"),
        (None, "unclear"),
        ("犬", "unclear"),
        ("{{ concept }}", "unclear"),
        ("kayak", None),
        ("1950s car", None),
        ("18-wheeler", None),
        ("mountain ash", None),
    ],
)
def test_what_form_gives_away_is_not_shown_to_the_model(concept: str | None, found: str | None) -> None:
    assert fault(concept) == found
    stage, row = JudgeConcepts(), {"row_id": 1, "concept": concept}
    asks = stage.ask(row, Random(0))
    assert len(asks) == (found is None)
    if found:
        assert stage.accept(row, []) == Reject(f"concept judged: {found}", "by its form")


def test_equal_concepts_are_asked_once() -> None:
    shares = {
        JudgeConcepts().ask({"row_id": place, "concept": name}, Random(0))[0].share
        for place, name in enumerate(("kayak", "Kayaks"))
    }
    assert len(shares) == 1 and None not in shares


@pytest.mark.parametrize(
    ("concept", "reason"),
    [
        ("kayak", "none"),
        ("wooden spoon", "none"),
        ("stepladder", "none"),
        ("happiness", "not visible"),
        ("running", "not visible"),
        ("Paris", "proper noun"),
        ("grelt", "not understood"),
        ("blue", "unclear"),
    ],
)
def test_verdicts_of_the_rules(concept: str, reason: str) -> None:
    assert judge_concept({"concept": concept}, Random(0)) == {"reason": reason, "verdict": "yes" if reason == "none" else "no"}


def test_the_rules_answer_the_stage() -> None:
    stage, row = JudgeConcepts(), {"row_id": 1, "concept": "lighthouse"}
    (ask,) = stage.ask(row, Random(0))
    assert stage.accept(row, [Answer(ask, stage.parse(next(iter(RulesModel().stream([ask.request])))))]) == {
        "concept_verdict": "pass"
    }


def test_examples_agree_with_themselves_and_show_every_reason() -> None:
    shown = set()
    for bundle in load_template("anyedit/judge_concepts").header.bundles:
        for example in bundle:
            assert judged("kayak", json.dumps(example.answer)) != "verdict and reason disagree"
            shown.add(example.answer["reason"])
    assert shown == set(REASONS)
