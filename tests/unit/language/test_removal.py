"""A caption without one of its things: still a caption, or nothing."""

from __future__ import annotations

import pytest

from shardmill.language.removal import without


@pytest.mark.parametrize(
    ("caption", "name", "left"),
    [
        ("A dog and a cat on a sofa.", "dog", "A cat on a sofa."),
        ("A dog and a cat in a park.", "cat", "A dog in a park."),
        ("A dog and cat on a sofa", "dog", "A cat on a sofa"),
        ("A shelf with a mug, a jar and a candle.", "mug", "A shelf with a jar and a candle."),
        ("A shelf with a mug, a jar and a candle.", "jar", "A shelf with a mug and a candle."),
        ("A shelf with a mug, a jar and a candle.", "candle", "A shelf with a mug and a jar."),
        ("A man with a dog.", "dog", "A man."),
        ("Two farmers are next to a tractor.", "tractor", "Two farmers."),
        ("A small goat standing in front of a barn.", "barn", "A small goat."),
        ("A woman holding an umbrella on a street.", "umbrella", "A woman on a street."),
        ("A puppy sleeping on a big red sofa.", "puppy", "A big red sofa."),
        ("There is a kettle on a wooden table.", "kettle", "A wooden table."),
        ("Three hikers stand on top of a snowy hill.", "hiker", "A snowy hill."),
    ],
)
def test_what_is_left_is_english(caption: str, name: str, left: str) -> None:
    assert without(caption, name) == left


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A dog and a cat are asleep on a sofa.", "cat"),  # "are"
        ("A basket filled with apples.", "apple"),
        ("A slice of cake and a fork.", "cake"),
        ("A man holding an umbrella and smiling at a child.", "man"),
        ("Two boys jump in the air.", "boy"),
        ("A girl looks at herself in her mirror.", "girl"),
        ("A man in a red shirt.", "man"),
        ("A dog beside another dog.", "dog"),
        ("A cat on a mat.", "horse"),
    ],
)
def test_what_would_not_be_is_not_said(caption: str, name: str) -> None:
    assert without(caption, name) is None
