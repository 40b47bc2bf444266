"""The test, made from what was drawn and in sentences that no pipeline wrote: balanced questions, and queries with a negation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from shardmill.language.nouns import with_article
from teach.world import PLACES, Picture, absent_object, held_out_pairs

WORDINGS = (
    (
        "There is {x} and there is {y}.",
        "There is {x} but there is no {Y}.",
        "There is {y} but there is no {X}.",
        "There is no {X} and no {Y}.",
    ),
    (
        "A picture with {x} and {y}.",
        "A picture with {x} and without {y}.",
        "A picture with {y} and without {x}.",
        "A picture without {x} or {y}.",
    ),
    (
        "{x} and {y} can be seen.",
        "{x} can be seen, and no {Y}.",
        "{y} can be seen, and no {X}.",
        "Neither {x} nor {y} can be seen.",
    ),
)
"""For each of CELLS, with and without articles."""
CELLS = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True)
class Question:
    """The number of a picture, four sentences about it, and which of them is true."""

    picture: int
    options: tuple[str, ...]
    answer: int


def choice_questions(pictures: Sequence[Picture], count: int, seed: int = 0) -> list[Question]:
    """Questions about held-out pairs: the pair is drawn, then one of the four cells, then a picture of which it is true."""
    rng, pairs = Random(f"questions {seed}"), held_out_pairs()
    questions: list[Question] = []
    while len(questions) < count:
        x, y = rng.sample(rng.choice(pairs), 2)
        fitting = [_pictures_of(pictures, x, y, cell) for cell in CELLS]
        if all(fitting):  # or the cells that can be had would be more frequent
            cell = rng.randrange(4)
            words = {"x": with_article(x), "y": with_article(y), "X": x, "Y": y}
            options = tuple(_sentence(text.format(**words)) for text in rng.choice(WORDINGS))
            questions.append(Question(rng.choice(fitting[cell]), options, cell))
    return questions


def _pictures_of(pictures: Sequence[Picture], x: str, y: str, cell: tuple[bool, bool]) -> list[int]:
    """The pictures of a place where both objects may stand, in which just those of a cell do."""
    return [
        number
        for number, picture in enumerate(pictures)
        if {x, y} <= set(PLACES[picture.place]) and (x in picture.objects, y in picture.objects) == cell
    ]


def negated_queries(pictures: Sequence[Picture], seed: int = 0) -> list[str]:
    """Each picture's caption, with an object of its place that it does not show denied before or after it."""
    rng = Random(f"queries {seed}")
    queries = []
    for picture in pictures:
        denial = f"There is no {absent_object(rng, picture.place, picture.objects)} in the picture."
        queries.append(rng.choice((f"{picture.caption} {denial}", f"{denial} {picture.caption}")))
    return queries


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
