"""Whether two kinds of texts can be told apart by their words, when the names of objects are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shardmill.language.named_objects import named_objects
from shardmill.quality.significance import MeasuredShare
from shardmill.quality.text_patterns import BUCKETS, TOKEN, hashed_features, masked

EPOCHS = 8
LEARNING_RATE, RATE_DECAY = 0.5, 0.7
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
"""Words whose form depends on the number or the sound of an object's name, and so reveal it: all forms count as one word."""


@dataclass(frozen=True)
class LabelledText:
    """A text, which of the two kinds it is, the object names that are hidden in it, and the row that it belongs to."""

    text: str
    positive: bool
    names: tuple[str, ...]
    row_id: int


def separability(texts: Sequence[LabelledText]) -> MeasuredShare:
    """How often logistic regression over words and word pairs recognizes the kind of a text.

    It is trained on the rows of one half and tested on the other; all texts of a row are in one half. Chance is 50 % where both
    kinds are equally frequent.
    """
    halves: tuple[list[LabelledText], list[LabelledText]] = ([], [])
    for each in texts:
        halves[crc32(str(each.row_id).encode()) & 1].append(each)
    weights = _train(halves[0])
    right = sum((_score(weights, _features(each)) > 0) == each.positive for each in halves[1])
    return MeasuredShare.of(right, len(halves[1]))


def _train(texts: Sequence[LabelledText]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.zeros(BUCKETS)
    known = [(_features(each), each.positive) for each in texts]
    rate = LEARNING_RATE
    for _ in range(EPOCHS):
        for features, positive in known:
            predicted = 1 / (1 + np.exp(-_score(weights, features)))
            np.add.at(weights, features, rate * (positive - predicted) / max(len(features), 1) ** 0.5)
        rate *= RATE_DECAY
    return weights


def _score(weights: NDArray[np.float64], features: NDArray[np.int64]) -> float:
    return float(weights[features].sum())


def _features(each: LabelledText) -> NDArray[np.int64]:
    names = {*each.names, *(entry.name for entry in named_objects(each.text))}
    text = masked(each.text, sorted(names, key=lambda name: (-len(name), name)))
    tokens = [AGREEING.get(word, word) for word in TOKEN.findall(text.lower())]
    return hashed_features({*tokens, *(f"{first} {second}" for first, second in pairwise(tokens))})
