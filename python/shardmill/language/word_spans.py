"""The words of a caption with their classes and where they stand in it, and the noun phrases around a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from shardmill.language.caption_text import tokens
from shardmill.language.relations import mentions
from shardmill.language.tagging import tag
from shardmill.language.word_classes import ADJECTIVE, DETERMINER, GERUND, NOUN, NUMBER, PARTICIPLE, POSSESSIVE

_CACHE = 1 << 12
_MODIFIERS = (ADJECTIVE, PARTICIPLE, NUMBER, NOUN, GERUND)


@dataclass(frozen=True)
class WordSpan:
    """A word, or several that the lexicon knows as one name: lower-case `text`, class `kind`, whether it is a noun for `many`
    things, and its place in the caption.
    """

    text: str
    kind: str
    many: bool
    start: int
    end: int


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: where it starts with its determiner, where its modifiers start, where the name starts and ends.

    `first` and `after` are places in the list of words: of its first word, and of the one after it.
    """

    start: int
    modifiers: int
    name: int
    end: int
    first: int
    after: int


@lru_cache(maxsize=_CACHE)
def word_spans(caption: str) -> tuple[WordSpan, ...] | None:
    """The words in order; None when parts of the caption were not read as plain words (quoted writing, addresses, tags)."""
    found: list[WordSpan] = []
    at = 0
    for word in tag(tokens(caption)):
        match = _pattern(word.text).search(caption, at)
        if match is None or re.search(r"\w", caption[at : match.start()]):
            return None
        found.append(WordSpan(word.text, word.kind, word.kind == NOUN and word.many, match.start(), match.end()))
        at = match.end()
    return None if re.search(r"\w", caption[at:]) else tuple(found)


def phrase_around(caption: str, words: Sequence[WordSpan], name: str) -> Phrase | None:
    """The noun phrase of the first mention of an object; None when the caption has none that can be told."""
    spans = mentions(caption, name)
    if not spans:
        return None
    start, end = spans[0]
    first = next((at for at, word in enumerate(words) if word.end > start), None)
    after = next((at for at, word in enumerate(words) if word.start >= end), len(words))
    if first is None or words[first].start > start:
        return None
    while first and _joined(caption, words, first) and words[first - 1].kind in _MODIFIERS and not _is_verbal(words, first - 1):
        first -= 1
    modifiers = words[first].start
    if first and _joined(caption, words, first) and words[first - 1].kind == DETERMINER:
        first -= 1
    elif first > 1 and words[first - 1].kind == POSSESSIVE:
        first -= 2
        if first and words[first - 1].kind == DETERMINER:
            first -= 1
    return Phrase(words[first].start, min(modifiers, start), start, end, first, after)


def _joined(caption: str, words: Sequence[WordSpan], at: int) -> bool:
    return caption[words[at - 1].end : words[at].start].strip() == ""


def _is_verbal(words: Sequence[WordSpan], at: int) -> bool:
    """Whether a gerund or participle tells what somebody does, and does not describe: "a man feeding pigeons"."""
    if words[at].kind not in (GERUND, PARTICIPLE):
        return False
    return at == 0 or words[at - 1].kind not in (DETERMINER, ADJECTIVE, NUMBER)


@lru_cache(maxsize=_CACHE)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(r"[\s-]+".join(map(re.escape, text.split(" "))), re.IGNORECASE)
