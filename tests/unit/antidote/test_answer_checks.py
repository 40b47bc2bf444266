"""Whether an answer declines, and what an answer to a yes/no question says."""

import pytest

from shardmill.antidote.answer_checks import affirms, declines, says_yes

DECLINING = """
There is no mirror in this image, so I cannot say.
I can't answer that: the picture shows a table and a chair only.
No mirror is visible in the image.
The image does not show a mirror.
The mirrors are not present here.
It is not possible to tell what the mirrors reflect.
There aren't any mirrors in this photo.
The mirror isn't in the picture.
I don't see a mirror.
I do not see any mirrors in the picture.
There's no mirror.
The image contains no mirror.
The room has no mirror in it.
I see no mirror.
No mirrors are visible.
The picture does not actually show a mirror.
The mirror is not actually present.
There doesn't seem to be a mirror, none is shown.
There is no such object in the image.
I'm unable to determine that, since no mirror is shown.
The question cannot be answered because the mirror does not exist.
The mirror is missing from the image.
There is not a mirror here.
There is no large wooden mirror.
""".strip().splitlines()
ANSWERING = """
The mirror reflects the window.
It reflects a bed with no pillows on it.
The mirror is gold. There is no rain.
A dog stands beside the mirror, and nobody is missing.
The mirror reflects a lamp, but its left edge cannot be seen.
You can't miss it: the mirror hangs above the sink.
The mirror lacks a frame.
There is no frame around the mirror.
There is no dust on the mirror.
The mirror does not show a face.
The mirror is not clean.
The mirror is not in focus.
It does not hang straight in front of the mirror.
""".strip().splitlines()


@pytest.mark.parametrize("answer", DECLINING)
def test_declining_answers(answer: str) -> None:
    assert declines(answer, "mirror")


@pytest.mark.parametrize("answer", [*ANSWERING, ""])
def test_answers_that_take_the_thing_for_granted(answer: str) -> None:
    assert not declines(answer, "mirror")


@pytest.mark.parametrize("answer", ["I cannot answer that.", "There is no such thing here."])
def test_some_answers_decline_whatever_they_are_about(answer: str) -> None:
    assert declines(answer)


YES = """
Yes, there is a tram.
Yes, there is a tram, but its number cannot be read.
There is a red tram on the street.
There's a tram.
The image shows a tram.
A tram is visible on the left.
The answer is yes.
""".strip().splitlines()
NO = """
No.
No, I do not see it.
None.
There is no tram in the image.
I don't see any tram.
The answer is no.
No trams are visible.
""".strip().splitlines()


@pytest.mark.parametrize(("answer", "said"), [*((each, True) for each in YES), *((each, False) for each in NO)])
def test_what_is_said_of_a_thing_that_may_be_there(answer: str, said: bool) -> None:
    assert says_yes(answer, "tram") is said


def test_what_says_neither() -> None:
    assert says_yes("The street is wet.", "tram") is None


def test_speaking_of_a_thing_as_there() -> None:
    assert affirms("A cat sleeps on the sofa. There is no dog.", "cat")
    assert not affirms("A cat sleeps on the sofa. There is no dog.", "dog")
    assert not affirms("A cat sleeps on the sofa.", "lamp")
