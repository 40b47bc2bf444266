"""Whether an answer declines, and what an answer to a yes/no question says."""

import pytest

from shardmill.language.declining import declines, says_yes

DECLINING = [
    ("There is no mirror in this image, so I cannot say.", "mirror"),
    ("I can't answer that: the picture shows a table and a chair only.", "mirror"),
    ("No mirror is visible in the image.", "mirror"),
    ("The image does not show a mirror.", "mirror"),
    ("Mirrors are not present here.", "mirror"),
    ("It is not possible to tell what the mirrors reflect.", "mirror"),
    ("There aren't any umbrellas in this photo.", "umbrella"),
    ("The umbrella isn't in the picture.", "umbrella"),
]
ANSWERING = [
    ("The mirror reflects the window.", "mirror"),
    ("It reflects a bed with no pillows on it.", "mirror"),
    ("The umbrella is red. There is no rain.", "umbrella"),
    ("A dog stands beside the tram, and nobody is missing.", "tram"),
    ("", "tram"),
]


@pytest.mark.parametrize(("answer", "name"), DECLINING)
def test_declining_answers(answer: str, name: str) -> None:
    assert declines(answer, name)


@pytest.mark.parametrize(("answer", "name"), ANSWERING)
def test_answers_that_take_the_thing_for_granted(answer: str, name: str) -> None:
    assert not declines(answer, name)


def test_yes_no_and_neither() -> None:
    assert says_yes("Yes, there is a dog.", "dog") is True
    assert says_yes("There is a dog on the sofa.", "dog") is True
    assert says_yes("No.", "dog") is False
    assert says_yes("There is no dog in the image.", "dog") is False
    assert says_yes("The dog sleeps.", "dog") is None
