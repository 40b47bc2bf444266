"""Pairs of presupposition questions: of one form, about the right objects, and alike in all but those."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from shardmill.antidote.ask_presuppositions import AskPresuppositions, pair_problem
from shardmill.antidote.question_answers import QuestionPair
from shardmill.antidote.question_forms import LOOKS, OWN_FORMS, PLACES, object_problem, question_problem, shared_forms
from shardmill.core.prompts import load_template
from shardmill.core.seeding import rng_of, seed_of
from shardmill.core.stage import Answer, ModelCall
from shardmill.embedded.rules.engine import RulesModel
from shardmill.embedded.rules.phrases import patterns
from shardmill.embedded.rules.propose import propose_negatives
from shardmill.embedded.rules.questions import ask_presuppositions
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.relations import mentions
from shardmill.util.errors import UserError

FORMS = {form.name for form in (*OWN_FORMS, *LOOKS, *PLACES)}
ROW = {
    "row_id": 1,
    "verified_caption": "A dog sleeps on a sofa beside a lamp.",
    "verified_present": ["dog", "sofa", "lamp"],
    "verified_absent": ["cat", "bookshelf", "vase", "mirror"],
}


def answered(stage: AskPresuppositions, row: dict[str, Any], attempts: int = 5) -> list[dict[str, Any]]:
    """The row's `asked` with the embedded rules, asked again as the worker does."""
    answers = [by_rules(stage, ask, seed, attempts) for seed, ask in enumerate(stage.ask(row, rng_of(0, row["row_id"])))]
    return stage.accept(row, answers)["asked"]


def by_rules(stage: AskPresuppositions, ask: ModelCall, seed: int, attempts: int) -> Answer:
    for attempt in range(attempts):
        request = replace(ask.request, seed=seed_of(json.dumps(ask.request.chat.values), seed, attempt))
        value = stage.parse(next(iter(RulesModel().stream([request]))))
        problem = ask.check(value) if ask.check else None
        if problem is None:
            break
    return Answer(ask, value, problem)


def scenes(count: int) -> list[dict[str, Any]]:
    """Rows as the pipeline makes them: what is present is drawn from a scene, in either number; what is absent fits it."""
    words = lexicon()
    rows = []
    for row_id in range(count):
        rng = rng_of("scene", row_id)
        scene = words.in_scene(rng.choice(words.scenes))
        present = [rng.choice((entry.name, entry.name, entry.plural)) for entry in rng.sample(scene, min(4, len(scene)))]
        caption = f"A photo of {' and '.join(present)}"
        absent = propose_negatives({"caption": caption, "objects": present, "count": 4}, rng)["objects"]
        rows.append({"row_id": row_id, "verified_caption": caption, "verified_present": present, "verified_absent": absent})
    return rows


@pytest.fixture(scope="module")
def many() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    stage = AskPresuppositions({"pairs": 2})
    return [(row, answered(stage, row)) for row in scenes(800)]


def test_a_pair_asks_the_same_of_an_absent_and_of_a_present_object() -> None:
    first, second = answered(AskPresuppositions(), ROW)
    assert (first["kind"], second["kind"]) == ("cpq", "tpq")
    assert first["object"] in ROW["verified_absent"] and second["object"] in ROW["verified_present"]
    assert first["form"] == second["form"] and first["pair"] == second["pair"] == 0
    assert set(first) == {"kind", "object", "question", "form", "pair"}
    assert first["question"].endswith("?") and first["object"] in first["question"]


def test_more_pairs_take_no_object_twice_and_end_with_the_shorter_list() -> None:
    asked = answered(AskPresuppositions({"pairs": 10}), ROW)
    assert [entry["pair"] for entry in asked] == [0, 0, 1, 1, 2, 2]
    assert len({entry["object"] for entry in asked}) == 6
    doubled = {**ROW, "verified_present": ["dog", "The dogs", "a dog"]}
    assert len(answered(AskPresuppositions({"pairs": 3}), doubled)) == 2


def test_first_takes_the_likeliest_objects_and_random_any() -> None:
    def objects(how: str) -> set[str]:
        stage = AskPresuppositions({"objects": how})
        return {values_of(stage, {**ROW, "row_id": row_id})["absent_object"] for row_id in range(60)}

    assert objects("first") == {"cat"}
    assert objects("random") == set(ROW["verified_absent"])


def values_of(stage: AskPresuppositions, row: dict[str, Any]) -> dict[str, Any]:
    return dict(stage.ask(row, rng_of(0, row["row_id"]))[0].request.chat.values)


def test_the_form_is_drawn_by_the_row_and_suits_both_objects() -> None:
    stage = AskPresuppositions()
    drawn = Counter()
    for row_id in range(300):
        values = values_of(stage, {**ROW, "row_id": row_id})
        assert values == values_of(stage, {**ROW, "row_id": row_id})
        assert values["form"] in shared_forms(values["present_object"], values["absent_object"])
        drawn[values["form"]] += 1
    assert len(drawn) > 8


def test_forms_make_sense_for_their_objects() -> None:
    own = shared_forms("dog", "old fisherman")
    assert "what it is doing" in own and "what it is wearing" not in own and "material" not in own
    assert own["what it is doing"] > own["where it is"] > own["what is behind it"]
    assert "what is inside it" not in shared_forms("chair", "dog")
    assert "what is inside it" in shared_forms("bucket", "basket")
    assert list(shared_forms("sky", "zorkmid")) == ["what it looks like"]
    assert shared_forms("zorkmid", "zorkmid").keys() == {form.name for form in (*LOOKS, *PLACES)} - {"size"}
    for entry in lexicon().entries.values():
        assert shared_forms(entry.name, "sky")


@pytest.mark.parametrize(
    ("form", "suited", "unfit"),
    [
        ("what it is doing", ["dog", "fisherman"], ["coral", "starfish", "skis"]),
        ("what it is looking at", ["owl", "tourist"], ["ant", "crowd", "snail"]),
        ("what it is holding", ["waiter"], ["crowd", "dog"]),
        ("colour", ["bus", "sofa", "umbrella", "zebra"], ["boy", "mirror", "ski slope", "beach"]),
        ("pattern on it", ["shirt", "curtain"], ["plate", "fork"]),
        ("what it is served in", ["soup", "juice"], ["strawberry", "mustard"]),
        ("what is written on it", ["street sign", "newspaper"], ["laptop", "chair"]),
        ("who uses it", ["violin", "tablet"], ["tennis court", "smoke detector"]),
        ("where it is", ["traffic light", "cat"], ["grass", "sky", "beach", "beard"]),
        ("size", ["truck", "elephant"], ["girl", "rice", "street"]),
    ],
)
def test_nobody_is_asked_what_people_would_not_ask(form: str, suited: list[str], unfit: list[str]) -> None:
    known = {each.name: each for each in (*OWN_FORMS, *LOOKS, *PLACES)}
    assert [name for name in (*suited, *unfit) if known[form].suits(name)] == suited


def test_every_object_of_the_forms_is_one_of_the_lexicon() -> None:
    named = {name for form in (*OWN_FORMS, *LOOKS, *PLACES) for name in form.kinds | form.unfit}
    assert named <= lexicon().entries.keys()


@pytest.mark.parametrize("column", ["verified_present", "verified_absent"])
@pytest.mark.parametrize("names", [[], ["winter", "the sound of waves", "joy"]])
def test_without_two_visible_objects_nothing_is_asked(column: str, names: list[str]) -> None:
    row = {**ROW, column: names}
    assert AskPresuppositions().ask(row, Random(0)) == []
    assert AskPresuppositions().accept(row, []) == {"asked": []}


def test_a_pair_without_a_usable_answer_does_not_take_the_others_along() -> None:
    stage = AskPresuppositions({"pairs": 2})
    asks = stage.ask(ROW, Random(0))
    answers = [Answer(asks[0], problem="yes/no question"), by_rules(stage, asks[1], 0, 5)]
    asked = stage.accept(ROW, answers)["asked"]
    assert [(entry["pair"], entry["question"] is None, entry.get("problem")) for entry in asked] == [
        (0, True, "yes/no question"),
        (0, True, "yes/no question"),
        (1, False, None),
        (1, False, None),
    ]
    failed = stage.accept(ROW, [Answer(ask, problem="bad JSON") for ask in asks])["asked"]
    assert [entry["problem"] for entry in failed] == ["bad JSON"] * 4


def test_options_are_checked() -> None:
    for options in ({"pairs": 0}, {"objects": "last"}, {"forms": 3}):
        with pytest.raises(UserError):
            AskPresuppositions(options)


@pytest.mark.parametrize(
    ("question", "name", "fault"),
    [
        ("What is the mirror reflecting?", "mirror", None),
        ("What are the mirrors reflecting?", "mirror", None),
        ("What is the old fisherman holding?", "fisherman", None),
        ("Which way does the bus stop sign face?", "sign", None),
        ("What is on the music stand?", "music stand", None),
        ("What is the mirror reflecting", "mirror", "no question mark"),
        ("The mirror what?", "mirror", "too short"),
        (f"What is the mirror {'very ' * 30}close to?", "mirror", "too long"),
        ("Look at the mirror. What does it reflect?", "mirror", "several sentences"),
        ("What is it? What does the mirror reflect?", "mirror", "several sentences"),
        ("What is the glass reflecting in there?", "mirror", "does not name its object"),
        ("What is behind the mirrored wall there?", "mirror", "does not name its object"),
        ("How many mirrors are on the wall?", "mirror", "asks how many"),
        ("About how many mirrors hang here?", "mirror", "asks how many"),
        ("Is the mirror on the wall clean?", "mirror", "yes/no question"),
        ("Don’t the mirrors look very old?", "mirror", "yes/no question"),
        ("In the picture, does the mirror look old?", "mirror", "yes/no question"),
        ("Where is there a mirror on the wall?", "mirror", "asks whether it is there"),
        ("What mirror can you see on the wall?", "mirror", "asks whether it is there"),
        ("What colour is the mirror that is not there?", "mirror", "asks whether it is there"),
        ("What hangs in place of the missing mirror?", "mirror", "asks whether it is there"),
        ("Please tell me, is the mirror on the wall clean?", "mirror", "yes/no question"),
        ("What number of mirrors hang on the wall?", "mirror", "asks how many"),
        ("What can you see behind the mirror?", "mirror", None),
        ("What colour, if any, has the mirror got?", "mirror", "asks whether it is there"),
        ("What sound does the mirror make?", "mirror", "not visible"),
        ("What kind of mood is the dog in?", "dog", "not visible"),
        ("What is the winter doing to us?", "winter", "not visible"),
        ("What does the caption say of the mirror?", "mirror", "speaks of the caption"),
        ("What is the mirror beside the cat reflecting?", "mirror", "names another object"),
        ("What is the mirror beside the kitties reflecting?", "mirror", "names another object"),
        ("What is the bus beside the bus stop?", "bus stop", "names another object"),
        ("Who is waiting at the bus stop?", "bus stop", None),
    ],
)
def test_what_a_question_must_look_like(question: str, name: str, fault: str | None) -> None:
    assert question_problem(question, name, ["cat", "bus", name]) == fault


def test_neither_question_of_a_pair_names_the_other_object_or_one_that_is_absent() -> None:
    def problem(absent_question: str, present_question: str) -> str | None:
        answer = QuestionPair(absent_question=absent_question, present_question=present_question)
        return pair_problem(answer, "dog", "cat", ["cat", "vase"])

    assert problem("What colour is the cat?", "What colour is the dog?") is None
    assert problem("What colour is the cat?", "What colour is the cat?") == "does not name its object"
    assert problem("Where does the cat watch the dog?", "What colour is the dog?") == "names another object"
    assert problem("What colour is the cat?", "What is the dog beside the vase doing?") == "names another object"


def test_every_form_has_wordings_that_name_nothing_else() -> None:
    table = patterns("questions")
    assert table.keys() == FORMS
    for form, wordings in table.items():
        assert len(set(wordings)) == len(wordings) >= 3, form
        named = {name for wording in wordings for name in lexicon().entries if mentions(wording, name)}
        assert not named, form


def test_examples_of_the_template_keep_the_rules() -> None:
    for bundle in load_template("antidote/ask_presuppositions").header.bundles:
        for example in bundle:
            values, answer = example.values, QuestionPair.model_validate(example.answer)
            assert values["form"] in FORMS
            assert pair_problem(answer, values["present_object"], values["absent_object"], [values["absent_object"]]) is None


def test_rules_make_pairs_for_nearly_every_image(many: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    is_detectable = [(row, asked) for row, asked in many if len(AskPresuppositions({"pairs": 2}).ask(row, Random(0))) == 2]
    assert sum(len(asked) == 4 for _, asked in is_detectable) > 0.98 * len(is_detectable) > 0.9 * 0.98 * len(many)
    for row, asked in is_detectable:
        for entry in asked:
            others = [*row["verified_absent"]] if entry["kind"] == "tpq" else [*row["verified_present"], *row["verified_absent"]]
            assert not any(mentions(entry["question"], other) for other in others if fold(other) != fold(entry["object"])), entry
            assert object_problem(entry["object"]) is None


@pytest.mark.parametrize(
    ("present", "absent", "expected"),
    [
        ("dogs", "cat", ["are the cats", "are the dogs"]),
        ("dog", "cats", ["is the cat", "is the dog"]),
        ("a dog", "an owl", ["is the owl", "is the dog"]),
        ("people", "dog", ["are the dogs", "are the people"]),
        ("scissors", "comb", ["are the combs", "are the scissors"]),
        ("comb", "scissors", ["are the scissors", "is the comb"]),
        ("water", "boats", ["is the boat", "is the water"]),
        ("two dogs", "water", ["is the water", "are the two dogs"]),
    ],
)
def test_number_agrees_and_is_the_same_in_a_pair(present: str, absent: str, expected: list[str]) -> None:
    check_number({"caption": "", "present_object": present, "absent_object": absent, "form": "size"}, expected)


def test_several_things_of_the_caption_are_asked_about_as_several() -> None:
    values = {"caption": "A picture of zebras and a fence.", "absent_object": "lion", "form": "size"}
    check_number({**values, "present_object": "zebra"}, ["are the lions", "are the zebras"])
    check_number({**values, "present_object": "fence"}, ["is the lion", "is the fence"])


def check_number(values: dict[str, Any], expected: list[str]) -> None:
    for seed in range(100):
        answer = ask_presuppositions(values, Random(seed))
        questions = [answer["absent_question"], answer["present_question"]]
        if all(question.startswith(("How big is", "How big are")) for question in questions):
            assert questions == [f"How big {text}?" for text in expected]
            return
    raise AssertionError("no such wording was drawn")


def bag(entry: dict[str, Any]) -> Counter[str]:
    """The words of a question without its object."""
    text = entry["question"]
    for start, end in reversed(mentions(text, entry["object"])):
        text = text[:start] + text[end:]
    return Counter(re.findall(r"[a-z]+", text.lower()))


def accuracy(asked: list[dict[str, Any]], words_of: Callable[[dict[str, Any]], Counter[str]] = bag) -> float:
    """How often a naive Bayes classifier tells the kind; learnt on one half of the images, tried on the other."""
    bags = [words_of(entry) for entry in asked]
    words = {word: at for at, word in enumerate(sorted(set().union(*bags)))}
    counts = np.zeros((len(asked), len(words)))
    for row, each in enumerate(bags):
        for word, count in each.items():
            counts[row, words[word]] = count
    absent = np.array([entry["kind"] == "cpq" for entry in asked])
    half = len(asked) // 2
    logs = [
        np.log((counts[:half][absent[:half] == kind].sum(axis=0) + 1) / (counts[:half][absent[:half] == kind].sum() + len(words)))
        for kind in (True, False)
    ]
    guesses = counts[half:] @ (logs[0] - logs[1]) > 0
    return float((guesses == absent[half:]).mean())


def test_the_wording_does_not_tell_the_kind(many: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    asked = [entry for _, entries in many for entry in entries]
    assert len(asked) >= 2 * 600
    assert Counter(entry["kind"] for entry in asked)["cpq"] * 2 == len(asked)
    assert accuracy(asked) <= 0.6


def test_the_classifier_would_tell_kinds_that_differ(many: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    asked = [entry for _, entries in many for entry in entries]
    drawn = Random(2)
    told = [
        {**entry, "question": entry["question"].replace("?", " just now?")}
        if entry["kind"] == "cpq" and drawn.random() < 0.6
        else entry
        for entry in asked
    ]
    assert accuracy(told) > 0.7
