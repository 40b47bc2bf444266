"""The words of a caption with their classes and where they stand in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from shardmill.language.caption_text import tokens
from shardmill.language.tagging import NOUN, tag

_CACHE = 1 << 12


@dataclass(frozen=True)
class Placed:
    """A word, or several that the lexicon knows as one name: lower-case `text`, class `kind`, and its place in the caption."""

    text: str
    kind: str
    many: bool
    start: int
    end: int


@lru_cache(maxsize=_CACHE)
def placed_words(caption: str) -> tuple[Placed, ...] | None:
    """The words in order; None when parts of the caption were not read as plain words (quoted writing, addresses, tags)."""
    found: list[Placed] = []
    at = 0
    for word in tag(tokens(caption)):
        match = _pattern(word.text).search(caption, at)
        if match is None or re.search(r"\w", caption[at : match.start()]):
            return None
        found.append(Placed(word.text, word.kind, word.kind == NOUN and word.many, match.start(), match.end()))
        at = match.end()
    return None if re.search(r"\w", caption[at:]) else tuple(found)


@lru_cache(maxsize=_CACHE)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(r"[\s-]+".join(map(re.escape, text.split(" "))), re.IGNORECASE)
