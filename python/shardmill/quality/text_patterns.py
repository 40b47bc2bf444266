"""What a template leaves of texts: words, and texts with their objects masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shardmill.language.named_objects import named_objects
from shardmill.language.relations import mentions

WORD = re.compile(r"\w+(?:['’]\w+)*|_")
TOKEN = re.compile(r"[a-z']+|_")
"""A word of letters, or a masked object: what linear classifiers read."""
ARTICLES = {"a", "an", "the", "any", "some"}
BUCKETS = 1 << 16
"""Hashed features: with some ten thousand different words and word pairs, few share a bucket."""


def words(text: str) -> list[str]:
    """The words of a text in lower case; "_" is one."""
    return WORD.findall(text.lower())


def masked(text: str, names: Sequence[str]) -> str:
    """The text with "_" for every mention of the named objects."""
    pieces, at = [], 0
    for start, end in sorted(span for name in names for span in mentions(text, name)):
        if start >= at:
            pieces += [text[at:start], "_"]
            at = end
    return "".join([*pieces, text[at:]])


def skeleton(text: str, names: Iterable[str] = ()) -> str:
    """A text without articles and case, with "_" for every object that it names: what a template leaves.

    >>> skeleton("This image features a dog, but not any cats.", ["dog", "cat"])
    'this image features _ but not _'
    """
    known = {*names, *(entry.name for entry in named_objects(text))}
    longest_first = sorted(known, key=lambda name: (-len(name), name))
    return " ".join(word for word in words(masked(text, longest_first)) if word not in ARTICLES)


def hashed_features(grams: Iterable[str]) -> NDArray[np.int64]:
    """The buckets of words and word pairs, in their alphabetical order: features for a linear classifier."""
    return np.array([crc32(gram.encode()) % BUCKETS for gram in sorted(grams)], dtype=np.int64)
