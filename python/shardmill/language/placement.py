"""Where a caption says that things are: "on top of a hill", "in front of the church"; and what holds others up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from shardmill.language.actions import is_animate
from shardmill.language.backgrounds import is_background
from shardmill.language.relations import mentions
from shardmill.language.word_classes import ADJECTIVE, ADVERB, DETERMINER, NOUN, NUMBER, PARTICIPLE, POSSESSIVE, PREPOSITION
from shardmill.language.word_lists import word_lists
from shardmill.language.word_spans import WordSpan, phrase_around, word_spans

_LISTS = word_lists("shardmill.language", "placement.yaml")

_LONG = sorted((tuple(text.split()) for text in _LISTS.phrases("long_prepositions")), key=len, reverse=True)
_SUPPORTING = _LISTS.words("supporting")
_RIDING = _LISTS.words("riding")
_HANDLING = _LISTS.words("handling")
_OWNERS = _LISTS.words("owners")
_CARRIES = re.compile(rf"\s*(?:{'|'.join(_LISTS.phrases('carrying'))})\b", re.IGNORECASE)
_ON_IT = re.compile(r"\b(?:on|in|inside|onto|from) (?:it|them)\b", re.IGNORECASE)
_OF_NOUN_PHRASES = (DETERMINER, ADJECTIVE, ADVERB, NUMBER, NOUN, POSSESSIVE, PARTICIPLE)
_CACHE = 1 << 12


@dataclass(frozen=True)
class PlacePhrase:
    """A preposition and its noun phrase: where both start and end in the caption, and the noun.

    `at`, `noun_at` and `after` are places in the list of words: of the preposition, of the first word of the noun phrase, and of
    the word after it.
    """

    preposition: str
    noun: str
    start: int
    noun_start: int
    end: int
    at: int
    noun_at: int
    after: int

    @property
    def is_background(self) -> bool:
        """Whether it says in which place all of it is: "on a beach", but not "on a plate"."""
        return is_background(self.noun)

    @property
    def supports(self) -> bool:
        """Whether its noun carries, holds or encloses something."""
        first, *rest = self.preposition.split()
        return (first in _SUPPORTING and not {"front", "side", "sides"} & set(rest)) or self.preposition == "out of"


@lru_cache(maxsize=_CACHE)
def place_phrases(caption: str) -> tuple[PlacePhrase, ...]:
    """All phrases of a preposition and a noun, in the order of the caption; none where it was not read as plain words."""
    words = word_spans(caption) or ()
    found, at = [], 0
    while at < len(words):
        length = _preposition(words, at)
        end = _noun_end(caption, words, at + length) if length else None
        if end is None:
            at += max(length, 1)
            continue
        first = words[at + length]
        name = " ".join(word.text for word in words[at : at + length])
        found.append(PlacePhrase(name, words[end].text, words[at].start, first.start, words[end].end, at, at + length, end + 1))
        at += length
    return tuple(found)


def supports(caption: str, name: str) -> bool:
    """Whether something is on, in or at an object, or rides it: who takes it away leaves that in the air."""
    spans = mentions(caption, name)
    words = word_spans(caption)
    if not spans or words is None:
        return False
    start, end = spans[0]
    if any(phrase.supports and phrase.noun_start <= start < phrase.end for phrase in place_phrases(caption)):
        return True
    if not is_animate(name) and (_CARRIES.match(caption, end) or _ON_IT.search(caption, end)):
        return True
    return _verb_before(words, start, _RIDING)


def is_handled(caption: str, name: str) -> bool:
    """Whether somebody holds an object, does something with it or calls it his own: it does not stand about by itself."""
    spans = mentions(caption, name)
    words = word_spans(caption)
    if not spans or words is None:
        return False
    phrase = phrase_around(caption, words, name)
    owned = phrase is not None and words[phrase.first].text in _OWNERS
    return owned or _verb_before(words, spans[0][0], _HANDLING)


def _verb_before(words: Sequence[WordSpan], start: int, verbs: frozenset[str]) -> bool:
    """Whether the noun phrase around a place in the caption stands behind one of the verbs."""
    before = [word for word in words if word.end <= start]
    while before and before[-1].kind in _OF_NOUN_PHRASES and before[-1].text not in verbs:
        before.pop()
    return bool(before) and before[-1].text in verbs


def _preposition(words: Sequence[WordSpan], at: int) -> int:
    """How many words a preposition has that starts there; 0 for none."""
    for text in _LONG:
        if tuple(word.text for word in words[at : at + len(text)]) == text:
            return len(text)
    return 1 if words[at].kind == PREPOSITION and words[at].text not in ("of", "as", "than", "like", "while") else 0


def _noun_end(caption: str, words: Sequence[WordSpan], start: int) -> int | None:
    """The last noun of the noun phrase that starts there, None where there is none."""
    last = None
    for at in range(start, len(words)):
        if words[at].kind not in _OF_NOUN_PHRASES or (at > start and caption[words[at - 1].end : words[at].start].strip()):
            break
        if last is not None and words[at].kind in (DETERMINER, NUMBER):
            break
        if words[at].kind == NOUN:
            last = at
    return last
