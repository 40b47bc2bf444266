"""Which of the confirmed questions are kept, so that the cells of the truth table are equally frequent again.

A detector refuses some objects more often than others: what captions leave unsaid is often there. After it, the four cells are no
longer equally likely for common and rare objects. Questions are grouped by how frequent their objects are and how often they go
together; within a group, and for each object that occurs often, questions of the more frequent kind are left out by the toss of a
coin. Differences that may be chance are left alone: evening them out exactly would tell a reader who has seen most of a group
what the rest of it must be.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GROUP_ROWS = 120
"""Questions of a group: 30 of each cell tell a bias of a few points from chance."""
ROUNDS = 30
CELLS = range(4)


def groups_of(questions: pl.DataFrame) -> Ints:
    """The group of each question: alike in how frequent its objects are and in how often they go together.

    Args:
        questions: With the columns x_count, y_count and pair_count: captions that name the first object, the second, and both.
    """
    counts = [questions[name].to_numpy().astype(float) for name in ("x_count", "y_count", "pair_count")]
    frequent, rare = np.maximum(*counts[:2]), np.minimum(*counts[:2])
    keys = [np.log(frequent), np.log(rare), np.log((counts[2] + 0.5) / (counts[0] * counts[1]))]
    group = np.zeros(questions.height, np.int64)
    for number, members in enumerate(_halved(np.arange(questions.height), keys, 0)):
        group[members] = number
    return group


def _halved(members: Ints, keys: list[Floats], depth: int) -> Iterator[Ints]:
    """The members split at the median of one key after the other, until the groups are small."""
    key = keys[depth % len(keys)][members]
    upper = key > np.median(key) if len(members) else key > 0
    if len(members) < 2 * GROUP_ROWS or min(upper.sum(), (~upper).sum()) < GROUP_ROWS // 2:
        yield members
        return
    for half in (members[~upper], members[upper]):
        yield from _halved(half, keys, depth + 1)


def shares_kept(questions: pl.DataFrame) -> Floats:
    """The share of questions like each one that is kept, at most 1.

    Args:
        questions: With the columns x, y, cell (0 both, 1 the first alone, 2 the second alone, 3 neither) and the counts.
    """
    weights = np.ones(questions.height)
    if not questions.height:
        return weights
    cell = questions["cell"].to_numpy()
    cells = groups_of(questions) * 4 + oriented(questions)
    names, name_of = np.unique(np.concatenate([questions["x"].to_numpy(), questions["y"].to_numpy()]), return_inverse=True)
    x, y = np.split(name_of, 2)
    x_sides, y_sides = x * 2 + np.isin(cell, (0, 1)), y * 2 + np.isin(cell, (0, 2))
    for _ in range(ROUNDS):
        weights *= _evened(weights, cells, 4)[cells]
        sides = _evened(np.concatenate([weights, weights]), np.concatenate([x_sides, y_sides]), 2, len(names) * 2)
        weights *= np.sqrt(sides[x_sides] * sides[y_sides])
        weights = np.minimum(weights / np.quantile(weights, 0.9), 1)
    return weights


def oriented(questions: pl.DataFrame) -> Ints:
    """The cells with the more frequent object first."""
    swapped = np.array([0, 2, 1, 3])[questions["cell"].to_numpy()]
    return np.where((questions["y_count"] > questions["x_count"]).to_numpy(), swapped, questions["cell"].to_numpy())


def _evened(weights: Floats, kinds: Ints, size: int, total: int | None = None) -> Floats:
    """For each kind the factor that makes it as frequent as the others of its group of `size` kinds.

    The factor is moved towards 1 by what may be chance (James and Stein's shrinkage).
    """
    length = total or (int(kinds.max()) // size + 1) * size
    found = np.bincount(kinds, weights, minlength=length).reshape(-1, size)
    mean = found.mean(axis=1, keepdims=True)
    surprise = ((found - mean) ** 2).sum(axis=1, keepdims=True) / np.maximum(mean, 1e-9)
    certain = np.clip(1 - 2 * size / np.maximum(surprise, 1e-9), 0, 1)
    return ((mean / np.maximum(found, 1e-9)).clip(0.1, 10) ** certain).ravel()


def blind_accuracy(questions: pl.DataFrame) -> float:
    """How often a reader is right who knows of half of the questions which cell is most frequent in a group, on the rest."""
    cells, group = oriented(questions), groups_of(questions)
    right = 0
    half = np.arange(len(cells)) % 2 == 0
    for known, asked in ((half, ~half), (~half, half)):
        counts = np.bincount(group[known] * 4 + cells[known], minlength=(int(group.max(initial=0)) + 1) * 4).reshape(-1, 4)
        right += int((counts.argmax(axis=1)[group[asked]] == cells[asked]).sum())
    return right / max(len(cells), 1)
