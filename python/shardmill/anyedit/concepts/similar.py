"""Which concepts are nearly the same as another one, by the cosine of their vectors.

A blocked matrix product in memory that does not grow with the square of the concepts. Of hashed n-grams a seeded projection to
few dimensions proposes and the full vectors decide, so that the outcome is exact but for one pair in about a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shardmill.language.similarity import DIMENSIONS, Vector, cosine, vectors

BLOCK, TILE = 1_024, 4_096
WIDTH = 512
MARGIN = 0.06
"""Five standard deviations of a projected cosine of 0.85: (1 - 0.85 ** 2) / sqrt(WIDTH) is 0.012."""
SEED = 20_240_517

Floats = NDArray[np.float32]
Confirm = Callable[[int, int], float]
Report = Callable[[int, int], None]


def near_duplicates(
    dense: Floats, threshold: float, report: Report, confirm: Confirm | None = None
) -> dict[int, tuple[int, float]]:
    """For each concept that is folded: the one it is folded into, and their cosine.

    `dense` (concepts, width) has rows of length 1, the preferred concepts first. A concept goes into the likest of the kept ones
    before it whose cosine is at least the threshold; what went into another draws in none itself. With `confirm` the cosines
    of `dense` only propose, and it says what they are.
    """
    kept: list[int] = []
    folded: dict[int, tuple[int, float]] = {}
    lowest = threshold - (MARGIN if confirm else 0.0)
    for start in range(0, len(dense), BLOCK):
        rows = dense[start : start + BLOCK]
        likest: dict[int, tuple[float, int]] = {}
        for tile in (kept[at : at + TILE] for at in range(0, len(kept), TILE)):
            for row, column, value in _above(rows @ dense[tile].T, lowest):
                _improve(likest, start + row, tile[column], value, threshold, confirm)
        within: dict[int, list[tuple[int, float]]] = {}
        for row, column, value in _above(np.tril(rows @ rows.T, -1), lowest):
            within.setdefault(start + row, []).append((start + column, value))
        for index in range(start, start + len(rows)):
            for earlier, value in within.get(index, ()):
                if earlier not in folded:
                    _improve(likest, index, earlier, value, threshold, confirm)
            if index in likest:
                value, into = likest[index]
                folded[index] = into, value
            else:
                kept.append(index)
        report(start + len(rows), len(dense))
    return folded


def _above(cosines: Floats, lowest: float) -> Iterator[tuple[int, int, float]]:
    rows, columns = np.nonzero(cosines >= np.float32(max(lowest, 1e-6)))
    return zip(rows.tolist(), columns.tolist(), cosines[rows, columns].tolist(), strict=True)


def _improve(
    likest: dict[int, tuple[float, int]], index: int, other: int, value: float, threshold: float, confirm: Confirm | None
) -> None:
    """Take `other` as what `place` goes into if it is like enough, and more so than the last one taken."""
    found = confirm(index, other) if confirm else value
    if found >= threshold and (index not in likest or found > likest[index][0]):
        likest[index] = found, other


class HashedNames:
    """Names as hashed n-grams: projected rows for the product, and the exact cosine of any two."""

    def __init__(self, names: Sequence[str]) -> None:
        self._vectors = vectors(names)
        self.dense = project(self._vectors)

    def cosine(self, a: int, b: int) -> float:
        return cosine(self._vectors[a], self._vectors[b])


def project(found: Sequence[Vector]) -> Floats:
    """Rows of length 1 (texts, WIDTH): each feature has random signs, drawn from a fixed seed, that are added up by weight."""
    signs = np.random.default_rng(SEED).integers(0, 2, (DIMENSIONS, WIDTH), dtype=np.int8)
    dense = np.zeros((len(found), WIDTH), dtype=np.float32)
    for index, vector in enumerate(found):
        dense[index] = vector.weights @ (signs[vector.features].astype(np.float32) * 2 - 1)
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    return np.divide(dense, norms, out=dense, where=norms > 0)
