"""Small edits of a caption: one colour, one material, adjectives in their order."""

from __future__ import annotations

import pytest

from shardmill.language.rewriting import colored, looking, made_of, replaced


@pytest.mark.parametrize(
    ("caption", "name", "color", "output"),
    [
        ("A big red bus.", "bus", "blue", "A big blue bus."),
        ("A light green wooden chair.", "chair", "orange", "An orange wooden chair."),
        ("Yellow tulips in a jar.", "tulip", "white", "White tulips in a jar."),
        ("Two old cars.", "car", "silver", "Two old silver cars."),
        ("A black and white cow.", "cow", "brown", None),
    ],
)
def test_a_thing_has_one_color(caption: str, name: str, color: str, output: str | None) -> None:
    assert colored(caption, name, color) == output


def test_a_look_stands_before_color_and_material() -> None:
    assert looking("A big red metal gate.", "gate", "rusty") == "A big rusty red metal gate."
    assert looking("A sofa.", "sofa", "ornate") == "An ornate sofa."


@pytest.mark.parametrize(
    ("caption", "name", "outputs"),
    [
        ("A wooden bench.", "bench", {"A stone bench."}),
        ("A bench by a lake.", "bench", {"A stone bench by a lake.", "A bench made of stone by a lake."}),
        ("A bench made of wood.", "bench", set()),
        ("A brick house.", "brick house", set()),
    ],
)
def test_nothing_is_of_two_materials(caption: str, name: str, outputs: set[str]) -> None:
    assert set(made_of(caption, name, "stone")) == outputs


def test_another_thing_does_not_take_over_the_material() -> None:
    assert replaced("Two big glass bowls on a shelf.", "bowl", "basket") == "Two big baskets on a shelf."
