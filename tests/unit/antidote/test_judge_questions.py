"""Verdicts on presupposition questions: each by itself, none without a reason, and no question lost."""

from __future__ import annotations

import json
from random import Random
from typing import Any, get_args

import pytest

from shardmill.antidote.judge_questions import JudgeQuestions
from shardmill.antidote.question_answers import QuestionVerdict, Verdict
from shardmill.antidote.question_forms import question_problem
from shardmill.core.prompts import load_template
from shardmill.core.stage import Answer
from shardmill.embedded.rules.engine import RulesModel
from shardmill.embedded.rules.phrases import patterns
from shardmill.embedded.rules.questions import ask_presuppositions, judge_question
from shardmill.models.contract import Reply

CPQ = {"kind": "cpq", "object": "mirror", "question": "What is the mirror reflecting?", "form": "what is on it", "pair": 0}
TPQ = {"kind": "tpq", "object": "dog", "question": "What is the dog looking at?", "form": "what is on it", "pair": 0}


def row(*asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "row_id": 1,
        "asked": list(asked),
        "verified_caption": "A dog sleeps on a sofa.",
        "verified_present": ["dog", "sofa"],
        "verified_absent": ["mirror", "cat"],
    }


def judged(*asked: dict[str, Any], verdicts: str | list[Any] = "pass") -> list[dict[str, Any]]:
    """The row's questions when the model answers each ask with the next of these verdicts; an exception is a failed ask."""
    stage, cells = JudgeQuestions(), row(*asked)
    asks = stage.ask(cells, Random(0))
    wanted = [verdicts] * len(asks) if isinstance(verdicts, str) else verdicts
    assert len(wanted) == len(asks)
    answers = []
    for ask, verdict in zip(asks, wanted, strict=True):
        if isinstance(verdict, Exception):
            answers.append(Answer(ask, problem=str(verdict)))
        else:
            value = stage.parse(Reply("", json.dumps({"verdict": verdict})))
            answers.append(Answer(ask, value, ask.check(value) if ask.check else None))
    return stage.accept(cells, answers)["questions"]


def test_a_verdict_is_added_to_every_entry_and_nothing_else_is_changed() -> None:
    assert judged(CPQ, TPQ) == [{**CPQ, "verdict": "pass"}, {**TPQ, "verdict": "pass"}]
    assert judged() == []


@pytest.mark.parametrize("verdict", [name for name in get_args(Verdict) if name != "pass"])
def test_a_good_question_survives_its_bad_partner(verdict: str) -> None:
    assert [entry["verdict"] for entry in judged(CPQ, TPQ, verdicts=["pass", verdict])] == ["pass", verdict]
    if verdict != "unanswerable":
        assert [entry["verdict"] for entry in judged(CPQ, TPQ, verdicts=[verdict, "pass"])] == [verdict, "pass"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"question": "Is the mirror clean and bright?"}, "yes/no question"),
        ({"question": "How many mirrors are on the wall?"}, "asks how many"),
        ({"question": "Where is there a mirror?"}, "asks whether it is there"),
        ({"question": "What is the dog in the mirror doing?"}, "names another object"),
        ({"question": "What is the cat in the mirror doing?"}, "names another object"),
        ({"question": "What is it reflecting there?"}, "does not name its object"),
        ({"question": ""}, "no question mark"),
        ({"object": "dog", "question": "What is the dog doing?"}, "object not in its list"),
        ({"kind": "tpq"}, "object not in its list"),
    ],
)
def test_what_breaks_a_rule_of_form_is_not_shown_to_the_model(changed: dict[str, str], reason: str) -> None:
    bad = {**CPQ, **changed}
    assert len(JudgeQuestions().ask(row(bad, TPQ), Random(0))) == 1
    assert [entry["verdict"] for entry in judged(bad, TPQ)] == [reason, "pass"]
    assert [entry["verdict"] for entry in judged(TPQ, bad)] == ["pass", reason]


def test_a_question_without_a_usable_verdict_does_not_pass() -> None:
    found = judged(CPQ, TPQ, verdicts=[ValueError("bad JSON"), "pass"])
    assert [entry["verdict"] for entry in found] == ["bad JSON", "pass"]
    with pytest.raises(ValueError):
        judged(CPQ, verdicts=["maybe"])


def test_a_question_that_was_not_asked_is_passed_on_with_the_reason() -> None:
    failed = {**CPQ, "question": None, "problem": "bad JSON"}
    assert len(JudgeQuestions().ask(row(failed, TPQ), Random(0))) == 1
    assert [entry["verdict"] for entry in judged(failed, TPQ)] == ["not asked: bad JSON", "pass"]


def test_only_what_is_there_can_be_unanswerable() -> None:
    assert judged(CPQ, verdicts=["unanswerable"])[0]["verdict"] == "pass"
    assert judged(TPQ, verdicts=["unanswerable"])[0]["verdict"] == "unanswerable"


def test_the_model_sees_the_kind_and_never_the_verdict_of_another() -> None:
    values = [ask.request.chat.values for ask in JudgeQuestions().ask(row(CPQ, TPQ), Random(0))]
    assert [value["present"] for value in values] == [False, True]
    assert [value["object"] for value in values] == ["mirror", "dog"]
    assert all(value["caption"] == "A dog sleeps on a sofa." for value in values)


def test_the_rules_answer_the_stage() -> None:
    stage, cells = JudgeQuestions(), row(CPQ, {**TPQ, "question": "Who paid for the dog in the end?"})
    asks = stage.ask(cells, Random(0))
    answers = [Answer(ask, stage.parse(next(iter(RulesModel().stream([ask.request]))))) for ask in asks]
    assert [entry["verdict"] for entry in stage.accept(cells, answers)["questions"]] == ["pass", "unanswerable"]


@pytest.mark.parametrize(
    ("question", "name", "present", "verdict"),
    [
        ("What is the mirror reflecting?", "mirror", False, "pass"),
        ("What is the cat chasing?", "cat", True, "pass"),
        ("What is the old man reading?", "old man", True, "pass"),
        ("Who is reading beside the lamp?", "lamp", True, "pass"),
        ("What is on the music stand?", "music stand", True, "pass"),
        ("What are the boats carrying?", "boats", True, "pass"),
        ("What are the boats smiling at?", "boat", True, "unrealistic"),
        ("What are the men drinking?", "man", True, "pass"),
        ("What does the cat think of it?", "cat", True, "not visible"),
        ("What is the chair eating?", "chair", False, "unrealistic"),
        ("Which book is the cat reading?", "cat", False, "unrealistic"),
        ("What is the teapot thinking of?", "teapot", False, "not visible"),
        ("Which tune does the violin play?", "violin", True, "not visible"),
        ("How warm is the summer?", "summer", False, "not visible"),
        ("What did the hat cost?", "hat", True, "unanswerable"),
        ("What did the hat cost?", "hat", False, "pass"),
        ("Why is the dog so tired?", "dog", True, "unanswerable"),
        ("Where, if any, is the hat?", "hat", False, "existence"),
        ("Where in the picture is there a hat?", "hat", True, "existence"),
    ],
)
def test_verdicts_of_the_rules(question: str, name: str, present: bool, verdict: str) -> None:
    values = {"caption": "", "object": name, "present": present, "question": question}
    assert judge_question(values, Random(0)) == {"verdict": verdict}


def test_the_rules_pass_what_they_ask() -> None:
    for form in patterns("questions"):
        for seed in range(20):
            values = {"caption": "", "present_object": "old dog", "absent_object": "fisherman", "form": form}
            answer = ask_presuppositions(values, Random(seed))
            for name, present in (("old dog", True), ("fisherman", False)):
                question = answer["present_question" if present else "absent_question"]
                seen = judge_question({"caption": "", "object": name, "present": present, "question": question}, Random(0))
                # A dog wears and holds nothing: such forms are drawn for people only.
                assert seen == {"verdict": "pass"} or form in ("what it is wearing", "what it is holding"), question


def test_every_verdict_has_an_example_and_examples_are_in_form() -> None:
    shown = []
    for bundle in load_template("antidote/judge_questions").header.bundles:
        shown.append({QuestionVerdict.model_validate(example.answer).verdict for example in bundle})
        for example in bundle:
            if example.answer["verdict"] == "pass":
                assert question_problem(example.values["question"], example.values["object"], []) is None
    assert set().union(*shown) == set(get_args(Verdict))
