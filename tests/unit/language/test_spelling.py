from __future__ import annotations

import pytest

from shardmill.language.spelling import corrected


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("A womman with a suitcas.", "A woman with a suitcase."),
        ("akite and sittingon", "a kite and sitting on"),
        ("a horse with out a saddle", "a horse without a saddle"),
        ("tomatos, knifes and puppys", "tomatoes, knives and puppies"),
        ("TWO GIRAFFS", "TWO GIRAFFES"),
        ("Two Skate Boards", "Two Skateboards"),
        ("a skier on blue skies over snow", "a skier on blue skis over snow"),
    ],
)
def test_a_misspelled_word_becomes_the_one_that_it_must_be(text: str, right: str) -> None:
    assert corrected(text) == right


@pytest.mark.parametrize(
    "text",
    [
        "A ballfield, a supercar and a doorwall",
        "Vodafone and Krispy Kreme in Hillcrest",
        "a man with outstretched arms",
        "a green house beside a black board",
        "teal, maroon and colourful stylised insignia",
        "mail to giraff@example.org or www.giraff.example",
        "It's the dogs' t-shirt, isn't it",
    ],
)
def test_right_words_and_names_stay(text: str) -> None:
    assert corrected(text) == text


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a peice of cake", "a piece of cake"),
        ("an elefant near a lake", "an elephant near a lake"),
        ("the trunck of an elephant", "the trunk of an elephant"),
        ("a boat at the peir", "a boat at the pier"),
        ("a baterry on a table", "a battery on a table"),
        ("a bathroom sinc", "a bathroom sink"),
    ],
)
def test_what_sounds_the_same_is_nearer_than_what_looks_alike(text: str, right: str) -> None:
    assert corrected(text) == right
