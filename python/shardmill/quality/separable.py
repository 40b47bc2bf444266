"""Whether two sorts of texts can be told apart by their words, when the words for things are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shardmill.language.named_objects import named_objects
from shardmill.quality.blind import BUCKETS, WORD, Baseline, masked, wilson

EPOCHS = 8
RATE = 0.5
AGREEING = {
    "is": "be",
    "are": "be",
    "was": "be",
    "were": "be",
    "does": "do",
    "has": "have",
    "their": "its",
    "they": "it",
    "an": "a",
}
"""Words that go by the number or the sound of a thing, and by that tell of the thing: all forms count as one."""


@dataclass(frozen=True)
class Labelled:
    """A text, which of the two sorts it is, the names it must not be known by, and the row that it belongs to."""

    text: str
    positive: bool
    names: tuple[str, ...]
    row_id: int


def separability(texts: Sequence[Labelled]) -> Baseline:
    """How well a bag of words and word pairs tells the sorts apart, trained on the rows of one half and tested on the other.

    Both sorts are weighed alike: chance is 50 %. Texts of one row are in one half.
    """
    halves: tuple[list[Labelled], list[Labelled]] = ([], [])
    for each in texts:
        halves[crc32(str(each.row_id).encode()) & 1].append(each)
    weights = _train(halves[0])
    tested = [(_features(each), each.positive) for each in halves[1]]
    right = sum((_score(weights, features) > 0) == positive for features, positive in tested)
    low, high = wilson(right, len(tested))
    return Baseline("bag of words", right / len(tested) if tested else 0.0, len(tested), low, high)


def _train(texts: Sequence[Labelled]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.zeros(BUCKETS)
    known = [(_features(each), each.positive) for each in texts]
    rate = RATE
    for _ in range(EPOCHS):
        for features, positive in known:
            share = 1 / (1 + np.exp(-_score(weights, features)))
            np.add.at(weights, features, rate * (positive - share) / max(len(features), 1) ** 0.5)
        rate *= 0.7
    return weights


def _score(weights: NDArray[np.float64], features: NDArray[np.int64]) -> float:
    return float(weights[features].sum())


def _features(each: Labelled) -> NDArray[np.int64]:
    names = {*each.names, *(entry.name for entry in named_objects(each.text))}
    text = masked(each.text, sorted(names, key=lambda name: (-len(name), name)))
    said = [AGREEING.get(word, word) for word in WORD.findall(text.lower())]
    grams = {*said, *(f"{first} {second}" for first, second in pairwise(said))}
    return np.array([crc32(gram.encode()) % BUCKETS for gram in sorted(grams)], dtype=np.int64)
