"""How alike short texts are, without a model: hashed word and character n-grams, and which texts repeat earlier ones.

The search for near duplicates is exact. With the features of all texts in one order, rare ones first, each text is cut where
what is left has a norm below some T. The cosine of two texts is then at most what their heads share plus T, so that heads in
an inverted index, of the texts that were kept, tell which few to compare (after Bayardo, Ma & Srikant, WWW 2007).
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 1 << 16
CHARACTERS = 4
"""Length of the character n-grams."""

_TAIL = 0.7
"""Norm of what the index leaves out, as a share of the threshold: more makes the index smaller and its candidates more."""
_ROUNDING = 1e-3
_FIRST = 24

_WORD = re.compile(r"\w+(?:['’]\w+)*")


class Vector(NamedTuple):
    """A sparse vector of length 1 (or 0, for a text without words): ascending feature numbers and their weights."""

    features: np.ndarray
    weights: np.ndarray


def vectors(texts: Sequence[str]) -> list[Vector]:
    """A vector per text: its words, word pairs and character n-grams, whatever their case and punctuation."""
    return [_vector(text) for text in texts]


def cosine(a: Vector, b: Vector) -> float:
    """The cosine of two vectors, from 0 (nothing in common) to 1 (the same words in the same order)."""
    _, at, other = np.intersect1d(a.features, b.features, assume_unique=True, return_indices=True)
    return float(np.dot(a.weights[at].astype(np.float64), b.weights[other]))


class Repeated(NamedTuple):
    """The earlier text that a near duplicate repeats, by its index, and their cosine."""

    earlier: int
    cosine: float


def near_duplicates(
    texts: Sequence[str], groups: Sequence[Hashable] | None = None, threshold: float = 0.8, top_k: int = 3
) -> list[Repeated | None]:
    """Which earlier text each text repeats: one to which at least `top_k` kept texts are more similar than the threshold.

    With `groups` (one per text) only texts of the same group are compared. A near duplicate is not kept, so it makes no later
    text one. The result depends on nothing but the order of the texts.

    Returns:
        For each text the most similar of the kept ones that were compared, or None if it is no near duplicate.
    """
    if not 0 < threshold < 1 or top_k < 1:
        raise ValueError("near_duplicates needs a threshold between 0 and 1 and a top_k of at least 1")
    found = vectors(texts)
    rank = _rarest_first(found)
    tail = _TAIL * threshold
    scratch = np.zeros(DIMENSIONS)  # sums of 64 bits, so that no threshold is met or missed by the order of a sum
    kept: defaultdict[Hashable, _Kept] = defaultdict(lambda: _Kept(threshold, scratch))
    repeated = []
    for index, (vector, group) in enumerate(zip(found, groups if groups is not None else [None] * len(texts), strict=True)):
        bank = kept[group]
        head = _head(vector, rank, tail)
        repeated.append(bank.repeated(vector, head, top_k))
        if repeated[-1] is None:
            bank.add(index, vector, head)
    return repeated


class _Kept:
    """The kept texts of a group: their vectors end to end, and for each feature the texts that have it in their head."""

    def __init__(self, threshold: float, scratch: np.ndarray) -> None:
        self._threshold = threshold
        self._scratch = scratch
        self._having: defaultdict[int, array[int]] = defaultdict(lambda: array("i"))
        self._features, self._weights = array("i"), array("f")
        self._starts, self._sizes, self._heaviest = array("q"), array("q"), array("f")
        self._indices = array("q")

    def add(self, index: int, vector: Vector, head: Vector) -> None:
        self._indices.append(index)
        for feature in head.features.tolist():
            self._having[feature].append(len(self._starts))
        self._starts.append(len(self._features))
        self._sizes.append(len(vector.features))
        self._heaviest.append(float(head.weights.max(initial=0)))
        self._features.frombytes(vector.features.tobytes())
        self._weights.frombytes(vector.weights.tobytes())

    def repeated(self, vector: Vector, head: Vector, enough: int) -> Repeated | None:
        """The most similar of the compared texts, if at least `enough` kept texts have a cosine above the threshold."""
        candidates = self._candidates(head)
        self._scratch[vector.features] = vector.weights
        found, best = 0, Repeated(-1, 0.0)
        # The likeliest first: a near duplicate mostly needs no more.
        for rows in (candidates[:_FIRST], candidates[_FIRST:]):
            if found < enough and len(rows):
                cosines = self._cosines(rows)
                found += int((cosines > self._threshold).sum())
                likest = int(cosines.argmax())
                best = max(best, Repeated(self._indices[rows[likest]], float(cosines[likest])), key=lambda each: each.cosine)
        self._scratch[vector.features] = 0
        return best if found >= enough else None

    def _cosines(self, rows: np.ndarray) -> NDArray[np.float64]:
        """The cosines of these texts with the one that is spread out in the scratch."""
        starts, sizes = np.frombuffer(self._starts, np.int64)[rows], np.frombuffer(self._sizes, np.int64)[rows]
        before = np.cumsum(sizes) - sizes
        at = np.repeat(starts - before, sizes) + np.arange(sizes.sum())
        products = self._scratch[np.frombuffer(self._features, np.int32)[at]] * np.frombuffer(self._weights, np.float32)[at]
        cosines: NDArray[np.float64] = np.add.reduceat(products, before)
        return cosines

    def _candidates(self, head: Vector) -> np.ndarray:
        """The texts whose heads share so much with this one that the cosine may be above the threshold, the likeliest first."""
        lists = [(weight, self._having[feature]) for feature, weight in _pairs(head) if feature in self._having]
        if not lists:
            return np.empty(0, dtype=np.int64)
        texts = np.concatenate([np.frombuffer(texts, np.int32) for _, texts in lists])
        weights = np.repeat([weight for weight, _ in lists], [len(texts) for _, texts in lists])
        shared = np.bincount(texts, weights, len(self._starts))
        # No weight in a text's head is above its heaviest: at most this much is shared.
        most = shared * np.frombuffer(self._heaviest, np.float32)
        found = np.flatnonzero(most > self._threshold * (1 - _TAIL) - _ROUNDING)
        return found[np.argsort(-most[found], kind="stable")]


def _pairs(vector: Vector) -> Iterator[tuple[int, float]]:
    return zip(vector.features.tolist(), vector.weights.tolist(), strict=True)


def _head(vector: Vector, rank: np.ndarray, tail: float) -> Vector:
    """The rarest features, as many as leave a rest of a norm below `tail`."""
    order = np.argsort(rank[vector.features])
    weights = vector.weights[order]
    left = np.cumsum(weights[::-1] ** 2)[::-1]
    size = int((left >= tail**2).sum())
    return Vector(vector.features[order[:size]], weights[:size])


def _rarest_first(found: Sequence[Vector]) -> np.ndarray:
    """The place of each feature in an order from rare to common."""
    counts = np.zeros(DIMENSIONS, dtype=np.int64)
    for vector in found:
        counts[vector.features] += 1
    rank = np.empty(DIMENSIONS, dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(DIMENSIONS)
    return rank


def _vector(text: str) -> Vector:
    counts = Counter(map(_hashed, _ngrams(text)))
    features = np.array(sorted(counts), dtype=np.int32)
    weights = np.array([counts[feature] for feature in features.tolist()], dtype=np.float32)
    norm = np.sqrt((weights**2).sum())
    return Vector(features, weights / norm if norm else weights)


def _ngrams(text: str) -> Iterator[str]:
    words = _WORD.findall(text.casefold().replace("’", "'"))
    yield from words
    yield from map(" ".join, pairwise(words))
    # The mark keeps the characters "cat" apart from the word.
    line = f" {' '.join(words)} "
    yield from (f"\x00{line[at : at + CHARACTERS]}" for at in range(len(line) - CHARACTERS + 1))


@lru_cache(maxsize=1 << 18)
def _hashed(ngram: str) -> int:
    """A number below DIMENSIONS, the same on every machine."""
    return int.from_bytes(blake2b(ngram.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") % DIMENSIONS


def near_duplicates_of(
    vectors: NDArray[np.float32], groups: Sequence[Hashable], threshold: float = 0.8, top_k: int = 3
) -> list[Repeated | None]:
    """The same verdicts as `near_duplicates`, for texts as dense L2-normalised vectors (texts, width)."""
    kept: defaultdict[Hashable, list[int]] = defaultdict(list)
    repeated: list[Repeated | None] = []
    for index, group in enumerate(groups):
        earlier = kept[group]
        cosines = vectors[earlier] @ vectors[index] if earlier else np.empty(0, dtype=np.float32)
        if int((cosines > threshold).sum()) >= top_k:
            repeated.append(Repeated(earlier[int(cosines.argmax())], float(cosines.max())))
        else:
            repeated.append(None)
            earlier.append(index)
    return repeated
