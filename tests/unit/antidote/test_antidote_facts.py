"""Antidote's steps without a model: facts, questions whether a thing is there, hints, pairs, and CP-Bench's score."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from shardmill.antidote.ask_descriptions import AskDescriptions
from shardmill.antidote.ask_pope import AskPope, Existence
from shardmill.antidote.check_facts import CheckFacts
from shardmill.antidote.cpbench import score
from shardmill.antidote.hints import denial, queries_of
from shardmill.antidote.pair_preferences import PairPreferences
from shardmill.cli.main import cli
from shardmill.core.stage import Reject
from shardmill.language.existence_questions import existence_question, listed
from shardmill.util.errors import UserError


def seen(**scores: float) -> dict[str, Any]:
    return {name.replace("_", " "): {"score": score, "boxes": []} for name, score in scores.items()}


def facts(row: dict[str, Any], **options: Any) -> Any:
    return CheckFacts(options).decide({"scene_caption": None, **row}, Random(0))


def test_what_scores_between_the_thresholds_leaves_both_lists() -> None:
    row = {
        "present": ["dog", "sofa", "lamp"],
        "absent": ["cat", "vase", "rug"],
        "detections": seen(dog=0.8, sofa=0.3, lamp=0.1, cat=0.02, vase=0.3, rug=0.9),
    }
    found = facts(row)
    assert (found["verified_present"], found["verified_absent"]) == (["dog"], ["cat"])
    assert {name: each["reason"] for name, each in found["dropped_facts"].items()} == {
        "sofa": "in doubt",
        "lamp": "not seen",
        "vase": "in doubt",
        "rug": "seen",
    }
    assert found["verified_caption"] == "A picture of a dog."
    assert facts({**row, "present": ["lamp"]}) == Reject("no object verified", "scores: lamp 0.100")
    assert facts({**row, "absent": ["rug"]}) == Reject("no absent object left", "scores: rug 0.900")
    assert facts(row, present_above=0.3, absent_below=0.3)["verified_present"] == ["dog", "sofa"]
    with pytest.raises(UserError, match="absent_below must not be above"):
        CheckFacts({"present_above": 0.1, "absent_below": 0.3})


def test_the_verified_caption_says_of_what_there_are_several() -> None:
    row = {
        "present": ["zebra", "fence"],
        "absent": ["lion"],
        "detections": seen(zebra=0.8, fence=0.7, lion=0.0),
        "scene_caption": "Two zebras look through a fence.",
    }
    assert facts(row)["verified_caption"] == "A picture of zebras and a fence."
    assert facts(row, captions="")["verified_caption"] == "A picture of a zebra and a fence."


def test_lists_of_users_are_cleaned_before_they_are_believed() -> None:
    row = {"present": ["cup", "cups", "dog"], "absent": ["{x}", "vase"], "detections": seen(cup=0.9, cups=0.9, dog=0.8, vase=0.0)}
    row["detections"]["{x}"] = {"score": 0.0, "boxes": []}
    found = facts(row)
    assert (found["verified_present"], found["verified_absent"]) == (["cup", "dog"], ["vase"])
    assert {name: each["reason"] for name, each in found["dropped_facts"].items()} == {
        "cups": "named twice",
        "{x}": "stray marks",
    }


def test_names_in_a_row_have_their_articles() -> None:
    assert listed(["dog"]) == "a dog"
    assert listed(["umbrella", "scissors", "grass", "old oak"]) == "an umbrella, scissors, grass and an old oak"


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("dog", "Is there a dog in the image?"),
        ("umbrella", "Is there an umbrella in the image?"),
        ("scissors", "Are there scissors in the image?"),
        ("french fries", "Are there french fries in the image?"),
        ("snow", "Is there snow in the image?"),
        ("people", "Are there people in the image?"),
    ],
)
def test_number_and_article_of_questions_are_right(name: str, question: str) -> None:
    assert existence_question(name) == question


def test_denials_agree_in_number() -> None:
    assert denial("flowers") == "There are no flowers in this image."
    assert denial("snow") == "There is no snow in this image."


ROW = {"row_id": 5, "verified_present": ["dog", "sofa", "lamp"], "verified_absent": ["cat", "anchor", "rug"]}


def pope(**options: Any) -> list[dict[str, Any]]:
    stage = AskPope(options)
    assert stage.ask(ROW, Random(0)) == []
    return stage.accept(ROW, [])["pope"]


def test_pope_asks_about_things_that_are_there_and_if_wanted_about_others() -> None:
    assert len(pope()) == 2 and {each["answer"] for each in pope()} == {"yes"}
    assert len(pope(per_image=9)) == 3
    both = pope(absent="random", absent_per_image=1)
    assert [each["answer"] for each in both] == ["yes", "yes", "no"]
    (adversarial,) = [each["object"] for each in pope(absent="adversarial", absent_per_image=1) if each["answer"] == "no"]
    assert adversarial != "anchor"
    assert pope() == pope()


@pytest.mark.parametrize(
    ("question", "fits"),
    [
        ("Is there a dog in the image?", True),
        ("Are there any dogs in this image?", True),
        ("Is there no dog in the image?", False),
        ("Is there a dog or a cat in the image?", False),
        ("Is there a red dog in the image?", False),
        ("Does the image show a dog?", False),
    ],
)
def test_a_model_may_word_the_question_and_not_change_it(question: str, fits: bool) -> None:
    (ask,) = AskPope({"grammar": "model", "per_image": 1}).ask({**ROW, "verified_present": ["dog"]}, Random(0))
    assert ask.check is not None
    assert (ask.check(Existence(question=question)) is None) is fits


def test_descriptions_are_asked_for_in_varied_words() -> None:
    stage = AskDescriptions()
    texts = {stage.accept({"row_id": row, "verified_present": ["dog"]}, [])["description"]["question"] for row in range(200)}
    assert len(texts) >= 10


def test_hints_and_the_preferred_side_of_each_kind() -> None:
    row = {
        **ROW,
        "questions": [
            {"kind": "cpq", "object": "cat", "question": "What colour is the Cat's collar?", "verdict": "pass"},
            {"kind": "tpq", "object": "dog", "question": "What colour is the dog's collar?", "verdict": "pass"},
            {"kind": "cpq", "object": "rug", "question": "Is the rug red?", "verdict": "a yes/no question"},
        ],
        "pope": [
            {"object": "sofa", "question": "Is there a sofa in the image?", "answer": "yes"},
            {"object": "cat", "question": "Is there a cat in the image?", "answer": "no"},
        ],
        "description": {"question": "Describe it."},
    }
    found = [(each.kind, each.object, each.hint_is_true, each.preferred) for each in queries_of(row)]
    assert found == [
        ("cpq", "cat", True, "hint"),
        ("tpq", "dog", False, "plain"),
        ("pope", "sofa", False, "plain"),
        ("pope", "cat", True, "hint"),
        ("desc", None, True, "hint"),
    ]
    cpq, *_, description = queries_of(row)
    assert cpq.text_hint.startswith("There is no cat in this image.") and cpq.text_hint.endswith(cpq.text)
    assert "dog, sofa, lamp" in description.text_hint and "cat, anchor, rug" in description.text_hint


def pair(kind: str, name: str, absent: bool, plain: str, hinted: str, **more: Any) -> Any:
    row = {
        "row_id": 1,
        "query_kind": kind,
        "query_object": name,
        "hint_is_true": absent,
        "preferred": "hint" if absent else "plain",
        "answer": plain,
        "answer_hint": hinted,
        "answer_problem": None,
        "verified_absent": ["cat", "anchor"],
        **more,
    }
    return PairPreferences().decide(row, Random(0))


def test_pairs_prefer_the_answer_that_is_right() -> None:
    good = pair("cpq", "cat", True, "The collar is red and has a bell.", "I cannot tell: there is no cat in this image.")
    assert good["response"].startswith("I cannot") and good["rejected_response"].startswith("The collar")
    good = pair("tpq", "dog", False, "The collar is red and has a bell.", "I cannot tell: there is no dog in this image.")
    assert good["response"].startswith("The collar")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (("cpq", "cat", True, "It is red.", "The collar is blue."), "the preferred answer does not decline"),
        (("tpq", "dog", False, "There is no dog here.", "It is red."), "the preferred answer declines"),
        (("pope", "dog", False, "No, I do not see it.", "No dog."), "the preferred answer is not right"),
        (("pope", "cat", True, "Yes.", "Yes, there is a cat."), "the preferred answer is not right"),
        (("desc", "", True, "A dog on a sofa in a room.", "A dog on a sofa in a room."), "answers too similar"),
        (("desc", "", True, "A dog.", "A dog and a cat on a sofa."), "the preferred answer names what is not there"),
        (("desc", "", True, "A dog.", "A dog. There is no cat and no anchor."), "the preferred answer lists what is not there"),
        (("desc", "", True, "A dog.", "I'm sorry, I cannot describe this image."), "the preferred answer is not a description"),
        (("desc", "", True, "A dog.", "According to the hint, a dog."), "the preferred answer is not a description"),
        (
            ("cpq", "cat", True, "There is no cat in this image.", "I cannot tell, no cat is shown here."),
            "both answers are right",
        ),
        (("tpq", "dog", False, "It is red, as far as one sees.", "The collar is blue."), "both answers are right"),
        (("pope", "dog", False, "Yes.", "Yes, there is a dog in the image."), "both answers are right"),
        (("pope", "cat", True, "No, nothing like that.", "No cat is visible."), "both answers are right"),
    ],
)
def test_pairs_that_teach_nothing_or_the_wrong_thing_are_rejected(found: tuple[Any, ...], reason: str) -> None:
    assert pair(*found).reason == reason
    assert pair(*found, answer_problem="cut by the token limit").reason == "not answered"


def test_the_score_of_cp_bench() -> None:
    answers = [{"tag": "cpq", "verdict": "reject"}] * 3 + [{"tag": "cpq", "verdict": "accept"}]
    answers += [{"tag": "tpq", "verdict": "accept"}, {"tag": "tpq", "answer": "There is no dog here.", "object": "dog"}]
    result = score(answers)
    assert (result.cpq, result.cpq_rejected, result.tpq, result.tpq_accepted) == (4, 3, 2, 1)
    assert result.total == pytest.approx(0.6 * 0.75 + 0.2 * 0.5 + 0.2 * 4 / 6)


def test_the_command_scores_a_file_and_names_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"tag": "CPQ", "verdict": "Reject."}\n\n{"tag": "tpq", "answer": "It is red.", "object": "dog"}\n')
    scored = CliRunner().invoke(cli, ["cpbench", str(path), "--json"])
    assert json.loads(scored.output)["score"] == pytest.approx(1.0)
    for line, why in [
        ("{", "line 4: not a JSON object"),
        ('{"tag": "x"}', "line 4: tag is 'x'"),
        ('{"tag": "cpq"}', "neither"),
        ('{"tag": "cpq", "answer": "x"}', "its object"),
    ]:
        path.write_text('{"tag": "cpq", "verdict": "reject"}\n' * 3 + line + "\n")
        error = CliRunner().invoke(cli, ["cpbench", str(path)]).exception
        assert isinstance(error, UserError) and why in str(error) and "\n" not in str(error)
