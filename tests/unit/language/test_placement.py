"""Where a caption says that things are, and what holds others up."""

from __future__ import annotations

import pytest

from shardmill.language.doing import lone_verb
from shardmill.language.placement import is_handled, place_phrases, supports
from shardmill.language.scene_words import is_outdoors, shows_hour


def test_prepositions_of_several_words_are_one() -> None:
    caption = "A goat stands on top of a stool next to a lake in the sun."
    found = [(each.preposition, caption[each.noun_start : each.end], each.is_background) for each in place_phrases(caption)]
    assert found[:2] == [("on top of", "a stool", False), ("next to", "a lake", True)]


@pytest.mark.parametrize(
    ("caption", "name", "expected"),
    [
        ("A mug on a table beside a lamp.", "table", True),
        ("A mug on a table beside a lamp.", "lamp", False),
        ("A mug on a table beside a lamp.", "mug", False),
        ("A man sits at a desk.", "desk", True),
        ("A girl rides a pony.", "pony", True),
        ("A bowl of cherries.", "bowl", True),
        ("A shelf has jars on it.", "shelf", True),
        ("A dog in front of a tent.", "tent", False),
    ],
)
def test_what_carries_or_holds_something(caption: str, name: str, expected: bool) -> None:
    assert supports(caption, name) == expected


@pytest.mark.parametrize(
    ("caption", "name", "expected"),
    [
        ("A man holding a kite.", "kite", True),
        ("A boy with his scooter.", "scooter", True),
        ("A boy beside a scooter.", "scooter", False),
    ],
)
def test_what_is_in_somebodys_hands(caption: str, name: str, expected: bool) -> None:
    assert is_handled(caption, name) == expected


@pytest.mark.parametrize(
    ("caption", "verb", "group"),
    [
        ("A dog sits on a mat.", "sits", "resting"),
        ("A man lying down on a bench.", "lying", "resting"),
        ("A girl walks down a path.", "walks", "moving"),
        ("A girl walks a dog.", "walks", None),
        ("A man waits for a bus.", "waits", None),
        ("A man feeds a dog.", "feeds", None),
    ],
)
def test_verbs_that_stand_alone(caption: str, verb: str, group: str | None) -> None:
    found = lone_verb(caption, verb)
    assert (found.group if found else None) == group


def test_scenes_of_weather_and_of_hours() -> None:
    assert is_outdoors("A cow in a field.") and shows_hour("A cow in a field.")
    assert not is_outdoors("A cat in a kitchen.") and shows_hour("A cat in a kitchen.")
    assert not shows_hour("A slice of pizza on a plate.") and not shows_hour("A portrait of a boy under a tree.")
