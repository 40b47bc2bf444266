"""Whether a text names one thing or several: "two dogs", "a herd of sheep", "the deer drink"."""

from __future__ import annotations

import re

from shardmill.language.nouns import INVARIANT, is_plural
from shardmill.language.relations import mentions
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "named_number.yaml")
_ONE = _LISTS.words("one")
_SEVERAL = _LISTS.words("several")
_EITHER = _LISTS.words("either")
_VERBS_OF_SEVERAL = _LISTS.words("verbs_of_several")
_WORD = re.compile(r"[\w'’-]+|[.,;:!?]")
_PHRASE_WORDS = 4
"""A determiner stands at most so many words before its noun."""


def names_several(text: str, name: str) -> bool:
    """Whether the first mention of an object in a text is of several; its name decides where the text does not mention it.

    What stands around a noun with one form for both numbers shows which it is: "a sheep", "three sheep", "the sheep graze".
    """
    spans = mentions(text, name) if name else []
    return is_several(text, *spans[0]) if spans else is_plural(name)


def is_several(text: str, start: int, end: int) -> bool:
    """Whether the noun at `start` to `end` of a text is of several."""
    noun = text[start:end].lower()
    if is_plural(noun):
        return True
    if noun.rpartition(" ")[2] not in INVARIANT:
        return False
    before = [word.lower() for word in _WORD.findall(text[:start])[-_PHRASE_WORDS:]]
    for word in reversed(before):
        if word in _ONE:
            return False
        if word in _SEVERAL or word.isdecimal():
            return word != "1"
        if word in _EITHER:
            return _has_verb_of_several(text, end)
        if not word[0].isalnum():
            break
    after = [word.lower() for word in _WORD.findall(text[end:])[:1]]
    return not (after and after[0] in ("is", "was", "has"))


def _has_verb_of_several(text: str, end: int) -> bool:
    after = _WORD.search(text, end)
    return after is not None and after.group().lower() in _VERBS_OF_SEVERAL
