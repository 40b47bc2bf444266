"""Articles and verbs that do not agree with the object beside them are found, and others are not."""

from __future__ import annotations

import pytest

from shardmill.language.agreement import agreement_problem


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("A cart on a road. There is no dogs here.", "dog", "There is no dogs"),
        ("There are no dog in the picture.", "dog", "There are no dog"),
        ("There is a dogs on the road.", "dog", "a dogs"),
        ("Two dog run.", "dog", "Two dog"),
        ("The dogs is nowhere in sight.", "dog", "dogs is"),
        ("No dog are visible.", "dog", "dog are"),
    ],
)
def test_what_does_not_agree_is_found(text: str, name: str, problem: str) -> None:
    assert agreement_problem(text, [name]) == problem


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("There are no dogs here.", "dog"),
        ("There is no dog and no cat here.", "dog"),
        ("There are a dog and a cat in the picture.", "dog"),
        ("A bowl of oranges is on the table.", "orange"),
        ("Pictures of a dog are on the wall.", "dog"),
        ("There are no scissors, and glasses are nowhere in sight.", "scissors"),
        ("There is no water.", "water"),
        ("A man and a dog are in the park.", "dog"),
        ("There are no sheep, and a sheep is alone.", "sheep"),
        ("A dog-shaped sign.", "dog"),
        ("Neither a dog nor a cat is visible.", "cat"),
    ],
)
def test_what_agrees_is_left_alone(text: str, name: str) -> None:
    assert agreement_problem(text, [name]) is None
