from __future__ import annotations

import pytest

from shardmill.language.prose import prose_problem


@pytest.mark.parametrize(
    ("caption", "problem"),
    [
        ("how to clean a leather sofa", "question"),
        ("should dogs eat cheese ?", "question"),
        ("discover the joy of baking with children", "advice"),
        ("you can keep any fish in your pond", "advice"),
        ("the bridge will be closed through friday", "headline"),
        ("farmer claims that wolves are back in the valley", "headline"),
        ("the secret of a happy cat", "idea"),
    ],
)
def test_text_that_shows_nothing_is_told_by_kind(caption: str, problem: str) -> None:
    assert prose_problem(caption) == problem


@pytest.mark.parametrize(
    "caption",
    [
        "a dog beside a trash can",
        "A ship can be seen in the distance",
        "you can see the ocean from the kitchen",
        "an advice column on a wooden table, what a mess",
        "make this quilt",
        "A mule refuses to go on",
        "a shelf that holds more pots than it should",
        "A girl cannot reach the jar",
        "a train makes its way through a valley",
        "a skateboarder does a trick",
        "what looks like a red barn in a field",
    ],
)
def test_captions_of_pictures_pass(caption: str) -> None:
    assert prose_problem(caption) is None
