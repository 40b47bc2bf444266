"""Edit instructions by rules: the caption says what the instruction says, and is a caption that people would write."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from shardmill.embedded.rules.edit_objects import add, remove, replace
from shardmill.embedded.rules.edit_scenes import background_change
from shardmill.embedded.rules.edits import action_change, appearance_alter, textual_change
from shardmill.embedded.rules.phrases import patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.relations import mentions

SEEDS = range(60)


def answers(task: Any, caption: str, verb: str, **values: Any) -> list[dict[str, Any]]:
    return [task({"caption": caption, "verb": verb, **values}, Random(seed)) for seed in SEEDS]


@pytest.mark.parametrize(
    "caption",
    ["A man sits at a table in a kitchen.", "Two zebras stand by a tree.", "A red bus on a city street.", "A bowl of soup."],
)
def test_an_added_thing_is_in_the_caption_where_the_instruction_puts_it(caption: str) -> None:
    for answer in answers(add, caption, "add"):
        new = answer["edited_object"]
        _, _, where = answer["edit"].partition(new)
        assert where.strip() and answer["output"].endswith(f"{new}{where}.")
        assert not mentions(caption, new)


def test_nothing_is_added_where_nobody_would_say_what() -> None:
    assert all(answer["output"] == "A zorkmid." for answer in answers(add, "A zorkmid.", "add"))


def test_a_removal_leaves_a_caption_and_no_list() -> None:
    caption = "A woman pushes a cart past a wall."
    assert all(answer["output"] == caption for answer in answers(remove, caption, "remove", object="woman"))
    caption = "A hen and a goat in a yard."
    assert {answer["output"] for answer in answers(remove, caption, "remove", object="hen")} == {"A goat in a yard."}


def test_several_things_are_replaced_by_several() -> None:
    for answer in answers(replace, "Two horses behind a fence.", "replace", object="horse"):
        assert answer["output"] in ("Two donkeys behind a fence.", "Two camels behind a fence.") or "Two " in answer["output"]
        assert answer["edit"].startswith("Replace the horses with ")
        assert not answer["edit"].startswith("Replace the horses with a ")


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A woman eats a slice of pizza.", "pizza"),
        ("A box of donuts on a desk.", "box"),
        ("A cat curled up into a ball on a rug.", "ball"),
        ("A path in a tree covered park.", "tree"),
        ("A boy hits a ball with a bat.", "ball"),
    ],
)
def test_what_belongs_to_another_noun_is_not_replaced(caption: str, name: str) -> None:
    assert all(replace({"caption": caption, "object": name, "verb": "replace"}, Random(n))["output"] == caption for n in range(9))


def test_several_sheep_are_replaced_by_several() -> None:
    done = replace({"caption": "A herd of sheep on a hill.", "object": "sheep", "verb": "replace"}, Random(2))
    assert done["output"].split()[3] in ("goats", "cows", "deer", "geese", "pigs", "horses", "donkeys"), done


def test_nobody_rides_what_nobody_rides() -> None:
    caption = "A girl rides a horse along a beach."
    found = {replace({"caption": caption, "object": "horse", "verb": "replace"}, Random(n))["new_object"] for n in range(30)}
    assert found == {"donkey", "camel"}


def test_food_is_put_where_people_eat() -> None:
    caption = "A plate of pasta and a fork."
    places = {background_change({"caption": caption, "verb": "change"}, Random(n))["new_background"] for n in range(60)}
    assert not places & {"a factory", "a theatre stage", "a canyon"}


def test_what_stands_for_a_thing_is_alike() -> None:
    named = {answer["new_object"] for answer in answers(replace, "A pizza on a plate.", "replace", object="plate")}
    assert named == {"bowl", "tray", "cutting board"}


def test_another_action_leaves_the_rest_of_the_caption() -> None:
    for answer in answers(action_change, "A boy walks down the street with a kite.", "make", object="boy", action="walks"):
        assert answer["output"].endswith(" down the street with a kite.") and "walks" not in answer["output"]
    for answer in answers(action_change, "A man sits on a bench.", "make", object="man", action="sits"):
        assert answer["new_action"] in patterns("edits")["gestures"]


def test_a_new_background_replaces_the_old_one() -> None:
    for answer in answers(background_change, "Two dogs play in a field of grass.", "change"):
        assert "field" not in answer["output"] and answer["original_background"] == "a field"
    caption = "A man with a bag in a kitchen with a stove."
    assert all(answer["output"] == caption for answer in answers(background_change, caption, "change"))
    caption = "A girl on a winter walk"
    assert all("island walk" not in answer["output"] for answer in answers(background_change, caption, "change"))


def test_vehicles_come_to_where_they_drive() -> None:
    places = {answer["new_background"] for answer in answers(background_change, "A truck and a dog.", "change")}
    assert places and places.isdisjoint({"a library", "a living room", "a museum hall"})


def test_looks_and_writings_suit_their_thing() -> None:
    looks = {answer["appearance"] for answer in answers(appearance_alter, "A banana on a plate.", "make", object="banana")}
    assert looks <= set(patterns("edits")["looks"]["fruit"])
    written = answers(textual_change, "A bus on a road.", "change", object="bus", text=None)
    assert all(answer["output"].split("'")[1].lower() in patterns("edits")["writings"]["vehicle"] for answer in written)


def test_several_look_another_way() -> None:
    edits = {answer["edit"] for answer in answers(appearance_alter, "Two vases on a shelf.", "change", object="vase")}
    assert all("so that they look" in edit or edit.endswith(" ones") for edit in edits)


def test_capitals_stay_capitals() -> None:
    answer = appearance_alter({"caption": "A TRUCK ON A ROAD", "object": "truck", "verb": "make"}, Random(0))
    assert answer["output"].isupper()


def test_the_lists_name_things_of_the_lexicon() -> None:
    known = lexicon().entries.keys() | {entry.category for entry in lexicon().entries.values()}
    swaps = patterns("swaps")
    named = [*swaps["groups"], swaps["instead"], *swaps["instead"].values()]
    assert {name for group in named for name in group} <= lexicon().entries.keys()
    assert {name for entry in patterns("additions") for name in (*entry["near"], *entry["things"])} <= known
