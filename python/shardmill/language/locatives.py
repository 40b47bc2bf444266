"""Backgrounds as phrases that a sentence can end with: "in a harbour", "on a kitchen counter"."""

from __future__ import annotations

import re
from functools import lru_cache

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, is_mass, is_plural, with_article
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "locatives.yaml")

PREPOSITIONS = _LISTS.words("prepositions")
_FREE = word_set("underwater outdoors indoors underground backstage offshore overhead mid-air")
"""Places that need no preposition."""
_HEADS = {preposition: _LISTS.words(preposition) for preposition in ("on", "at")}
_PLACES = _LISTS.words("places")
_KEPT = re.compile(r"(?:the|a|an|some|his|her|its|their)\b")


def is_locative(phrase: str) -> bool:
    """Whether a phrase says where: it starts with a preposition, or is a place by itself ("underwater")."""
    first = phrase.lower().split(" ", 1)[0]
    return (first in PREPOSITIONS and " " in phrase) or phrase.lower() in _FREE


def is_place(phrase: str) -> bool:
    """Whether a bare phrase names a place."""
    key = fold(phrase)
    head = key.rpartition(" ")[2]
    return bool(lexicon().in_scene(key)) or head in _PLACES or any(head in heads for heads in _HEADS.values())


@lru_cache(maxsize=1 << 14)
def locative(phrase: str) -> str:
    """A phrase that says where: as it is, or a place with its preposition and article: "harbour" -> "in a harbour"."""
    phrase = " ".join(phrase.split())
    if not phrase or is_locative(phrase):
        return phrase
    key = fold(phrase)
    head = key.rpartition(" ")[2]
    preposition = next((name for name, heads in _HEADS.items() if head in heads or key in heads), "in")
    bare = _KEPT.match(phrase.lower()) or is_plural(phrase) or is_mass(phrase)
    return f"{preposition} {phrase if bare else with_article(phrase)}"


def place_key(phrase: str) -> str:
    """What phrases for one place share: "in a kitchen", "in the kitchens" and "kitchen"; "under a table" is another place."""
    words = phrase.lower().strip(" .").split()
    first = words[0] if len(words) > 1 and words[0] in PREPOSITIONS else ""
    rest = fold(" ".join(words[1:] if first else words))
    return rest if first in ("", "in", "on", "at", "inside", "within") else f"{first} {rest}"
