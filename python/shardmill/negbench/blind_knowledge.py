"""What blind readers who know captions make of a question: how often its objects are named, alone and together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shardmill.quality.caption_knowledge import CaptionKnowledge
from shardmill.quality.text_patterns import hashed_features

OPTIONS = range(4)
Truth = dict[str, bool]
"""What an option claims: the objects that it names, and whether it says that they are present."""


@dataclass(frozen=True)
class BlindQuestion:
    """Four texts, what each claims, and the index of the right one. `half` (0 or 1) splits the set for baselines that learn."""

    texts: tuple[str, ...]
    truths: tuple[Truth, ...]
    answer: int
    half: int


def half_of(image: object) -> int:
    """The half that all questions about an image are in, however many captions it has."""
    return crc32(str(image).encode()) & 1


def common_are_there(question: BlindQuestion, known: CaptionKnowledge) -> int:
    """The option that says of common objects that they are there, and of rare ones that they are not."""

    def above(name: str) -> float:
        return math.log1p(known.count(name)) - known.middle

    scores = [sum(above(name) * (1 if claimed else -1) for name, claimed in truth.items()) for truth in question.truths]
    best = [index for index in OPTIONS if scores[index] == max(scores)]
    return best[crc32("".join(question.texts).encode()) % len(best)]


def frequency_features(question: BlindQuestion, known: CaptionKnowledge) -> list[NDArray[np.int64]]:
    """What each option claims of objects so common that go together so often."""
    return [hashed_features(_claims(truth, known)) for truth in question.truths]


def _claims(truth: Truth, known: CaptionKnowledge) -> set[str]:
    names = sorted(truth, key=lambda name: (-known.count(name), name))
    size = {name: int(math.log2(known.count(name) + 1)) for name in names}
    found = {f"{place} {truth[name]}" for place, name in enumerate(names)}
    found |= {f"{truth[name]} of {size[name]}" for name in names}
    for one, other in combinations(names, 2):
        both = f"{truth[one]} {truth[other]}"
        lift = round(2 * max(-2.0, min(4.0, known.lift(one, other))))
        found |= {both, f"{both} of {size[one]} {size[other]}", f"{both} lift {lift}", f"{both} of {size[one]} lift {lift}"}
    return found
