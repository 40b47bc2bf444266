"""Figures of collections: how uneven counts are, how varied texts are, whether counts are uniform. Pure functions."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from shardmill.language.named_objects import named_objects
from shardmill.quality.blind import masked

WORD = re.compile(r"\w+(?:['’]\w+)*|_")
VARIED_TEXTS = 2_000
"""Texts that distinct-n is computed on: it falls with the number of texts, so that only equal numbers compare."""


def gini(counts: np.ndarray | Sequence[int]) -> float:
    """Gini's coefficient: 0 where all counts are equal, towards 1 where one has all.

    >>> gini([1, 1, 1, 1])
    0.0
    >>> gini([0, 0, 0, 4])
    0.75
    """
    values = np.sort(np.asarray(counts, dtype=np.float64))
    total = values.sum()
    if not total:
        return 0.0
    places = np.arange(1, len(values) + 1)
    return float(round(2 * (places * values).sum() / (len(values) * total) - (len(values) + 1) / len(values), 12))


def uniform_p(counts: Sequence[int]) -> float:
    """The chance that four uniform categories differ as much as these counts: chi square with 3 degrees of freedom."""
    if len(counts) != 4:
        raise ValueError(f"four counts are needed, not {len(counts)}")
    expected = sum(counts) / 4
    if not expected:
        return 1.0
    x = sum((count - expected) ** 2 / expected for count in counts)
    return min(1.0, math.erfc(math.sqrt(x / 2)) + math.sqrt(2 * x / math.pi) * math.exp(-x / 2))


def words(text: str) -> list[str]:
    """The words of a text in lower case; "_" is one."""
    return WORD.findall(text.lower())


def distinct_n(texts: Sequence[str], n: int) -> float:
    """The share of different n-grams among all of the first 2,000 texts (Li et al., 2016)."""
    grams: Counter[tuple[str, ...]] = Counter()
    for text in texts[:VARIED_TEXTS]:
        said = words(text)
        grams.update(zip(*(said[place:] for place in range(n)), strict=False))
    return len(grams) / grams.total() if grams else 0.0


def compression(texts: Sequence[str]) -> float:
    """How many times smaller the first 2,000 texts get by compression: about 2 to 4 for varied ones, more for patterns."""
    data = "\n".join(texts[:VARIED_TEXTS]).encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data, 6)) if data else 0.0


def skeleton(text: str, names: Iterable[str] = ()) -> str:
    """A text with "_" for every object that it names, articles and case gone: what a template leaves.

    >>> skeleton("This image features a dog, but not any cats.", ["dog", "cat"])
    'this image features _ but not _'
    """
    known = {*names, *(entry.name for entry in named_objects(text))}
    return " ".join(
        word for word in words(masked(text, sorted(known, key=lambda name: (-len(name), name)))) if word not in _SMALL
    )


_SMALL = {"a", "an", "the", "any", "some"}


def opening(text: str, count: int = 3) -> str:
    """The first words of a text."""
    return " ".join(words(text)[:count])


def top_share(counts: Counter[Any]) -> tuple[Any, float]:
    """The commonest item and its share; ties go to the first in order."""
    if not counts:
        return None, 0.0
    item, most = min(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return item, most / counts.total()
