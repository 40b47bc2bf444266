"""Backgrounds of concepts: a list of clean, different places; what a model spills beside it is left out."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from shardmill.anyedit.propose_backgrounds import ProposeBackgrounds, background_problem, clean_backgrounds
from shardmill.core.prompts import load_template
from shardmill.core.stage import Answer, Reject
from shardmill.embedded.rules.concepts import places_of, propose_backgrounds
from shardmill.embedded.rules.engine import RulesModel
from shardmill.embedded.rules.phrases import patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.locatives import locative, place_key
from shardmill.models.contract import Reply

FIVE = ["in a kitchen", "on a shelf", "at a campsite", "in a shop", "beside a stove"]


def row(concept: str = "kettle", backgrounds: list[str] | None = None) -> dict[str, Any]:
    return {"row_id": 1, "concept": concept, "backgrounds": backgrounds}


def answered(cells: dict[str, Any], proposed: list[str], **options: Any) -> Any:
    """What becomes of a row when the model proposes these."""
    stage = ProposeBackgrounds(options)
    (ask,) = stage.ask(cells, Random(0))
    value = stage.parse(Reply("", json.dumps({"backgrounds": proposed})))
    problem = ask.check(value) if ask.check else None
    return stage.accept(cells, [Answer(ask, None, problem) if problem else Answer(ask, value)])


@pytest.mark.parametrize(
    ("item", "phrases"),
    [
        ("kitchen", ["in a kitchen"]),
        ("On the beach.", ["on the beach"]),
        ("1. in a forest", ["in a forest"]),
        ('- "train station"', ["at a train station"]),
        ("lake, river, pier", ["in a lake", "in a river", "on a pier"]),
        ("beach (sandy)", ["on a beach"]),
        ("and a market", ["at a market"]),
        ("underwater", ["underwater"]),
        ("notebook shop", ["in a notebook shop"]),
        ("mountains", ["on mountains"]),
        ("Here are some backgrounds", []),
        ("Sure!", []),
        ("Please note that a kettle is hot", []),
        ("on 5 tables", []),
        ("on the", []),
        ("", []),
        ("厨房", []),
        ("in a New York loft", []),
        ("in a <b>room</b>", []),
        ("in a " + "very " * 9 + "large room", []),
        ("kettle", []),
        ("beside a red kettle", []),
    ],
)
def test_items_become_phrases_that_say_where(item: str, phrases: list[str]) -> None:
    assert clean_backgrounds([item], "kettle") == phrases


def test_one_place_in_other_words_is_one_place() -> None:
    assert clean_backgrounds(["in a kitchen", "the kitchen", "Kitchens", "under a table", "on a table"], "otter") == [
        "in a kitchen",
        "under a table",
        "on a table",
    ]


def test_what_a_concept_had_comes_first() -> None:
    found = answered(row(backgrounds=["campsite", "a shelf"]), FIVE)
    assert found == {"all_backgrounds": ["at a campsite", "on a shelf", "in a kitchen", "in a shop", "beside a stove"]}


def test_too_few_places_reject_the_concept_with_the_count() -> None:
    assert answered(row(), FIVE[:4]) == Reject("too few backgrounds", "0 usable, 5 needed")
    assert answered(row(), FIVE[:4], least=4) == {"all_backgrounds": FIVE[:4]}
    assert answered(row(), FIVE) == {"all_backgrounds": FIVE}


def test_no_more_than_most_are_kept() -> None:
    assert answered(row(), FIVE, most=5, least=3) == {"all_backgrounds": FIVE}
    assert answered(row(), FIVE, most=3, least=3) == {"all_backgrounds": FIVE[:3]}


def test_a_failed_answer_does_not_lose_a_concept_that_has_enough() -> None:
    stage, cells = ProposeBackgrounds(), row(backgrounds=FIVE)
    (ask,) = stage.ask(cells, Random(0))
    assert stage.accept(cells, [Answer(ask, problem="bad JSON")]) == {"all_backgrounds": FIVE}
    assert stage.accept(row(), [Answer(ask, problem="bad JSON")]) == Reject("bad JSON", "0 usable, 5 needed")


def test_a_concept_that_has_as_many_as_wanted_is_not_asked_about() -> None:
    stage = ProposeBackgrounds({"wanted": 5})
    assert stage.ask(row(backgrounds=FIVE), Random(0)) == []
    assert stage.accept(row(backgrounds=FIVE), []) == {"all_backgrounds": FIVE}
    (ask,) = stage.ask(row(backgrounds=FIVE[:2]), Random(0))
    assert ask.request.chat.values["count"] == 3
    assert ask.request.chat.values["known"] == FIVE[:2]


def test_a_bare_list_will_do_as_an_answer() -> None:
    for answer in ("in a kitchen, on a lake", '["in a kitchen", "on a lake"]'):
        value = ProposeBackgrounds().parse(Reply("", answer))
        assert clean_backgrounds(value.backgrounds, "otter") == ["in a kitchen", "on a lake"]


@pytest.mark.parametrize("answer", ["", '{"backgrounds": "kitchen"}', '{"backgrounds": [1]}'])
def test_what_is_no_list_of_texts_is_malformed(answer: str) -> None:
    with pytest.raises(ValueError):
        ProposeBackgrounds().parse(Reply("", answer))


def test_the_rules_answer_the_stage() -> None:
    stage, cells = ProposeBackgrounds(), row("kettle", ["kitchen"])
    (ask,) = stage.ask(cells, Random(0))
    found = stage.accept(cells, [Answer(ask, stage.parse(next(iter(RulesModel().stream([ask.request])))))])
    assert found["all_backgrounds"][0] == "in a kitchen"
    assert len(found["all_backgrounds"]) == 12


def test_the_rules_propose_what_is_not_known_and_fits_the_size() -> None:
    found = propose_backgrounds({"concept": "kettle", "known": ["in a tidy kitchen"], "count": 99}, Random(0))["backgrounds"]
    assert "in a tidy kitchen" not in found and len(set(map(place_key, found))) == len(found) > 8
    assert not any("counter" in place or "shelf" in place for place in places_of("refrigerator"))
    assert "on a kitchen counter" in places_of("teapot")


def test_every_phrase_of_the_rules_is_usable_and_every_scene_has_some() -> None:
    lists = patterns("backgrounds")
    assert set(lists) == set(lexicon().scenes)
    for phrases in lists.values():
        assert len(phrases["any"]) >= 5
        for phrase in (*phrases["any"], *phrases.get("small", ())):
            assert background_problem(phrase, "otter") is None and locative(phrase) == phrase, phrase


def test_examples_keep_the_rules_they_show() -> None:
    for bundle in load_template("anyedit/propose_backgrounds").header.bundles:
        for example in bundle:
            known, concept = example.values["known"], example.values["concept"]
            proposed = example.answer["backgrounds"]
            assert len(proposed) == example.values["count"]
            assert clean_backgrounds([*known, *proposed], concept) == [*known, *proposed]


def test_backgrounds_may_come_as_the_text_of_a_list_and_what_is_none_is_rejected() -> None:
    phrases = [f"in the {place}" for place in ("harbour", "kitchen", "garage", "forest", "attic")]
    stage = ProposeBackgrounds({"wanted": 5})
    given = {"row_id": 0, "concept": "kettle", "backgrounds": json.dumps(phrases)}
    assert stage.ask(given, Random(0)) == []
    assert stage.accept(given, []) == {"all_backgrounds": phrases}
    outcome = stage.accept({**given, "backgrounds": "in the harbour, in the kitchen"}, [])
    assert isinstance(outcome, Reject) and outcome.reason == "unreadable cell"
