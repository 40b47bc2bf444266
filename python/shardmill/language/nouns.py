"""English nouns as captions use them: number, articles, and one canonical key per object name.

Plurals, singulars and "a" or "an" are those of `inflect`. `irregular_nouns.csv` has what it gets wrong of the words of captions,
`nouns.yaml` what it does not know: which nouns have one form, which are not counted, which words count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from shardmill.language.word_lists import word_lists, word_set

if TYPE_CHECKING:
    import inflect

_CACHE = 1 << 16


def _irregular_nouns() -> list[dict[str, str]]:
    text = files("shardmill.language").joinpath("irregular_nouns.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


_PLURAL_OF = {row["singular"]: row["plural"] for row in _irregular_nouns()}
_SINGULAR_OF = {many: one for one, many in _PLURAL_OF.items()}
_COMPOUNDED = {row["singular"]: row["plural"] for row in _irregular_nouns() if row["compounds"] == "yes"}
"""Those that a longer word ends with too: "firewoman" and "snowmen" follow "man"."""
_COMPOUNDED_MANY = {many: one for one, many in _COMPOUNDED.items()}
_LISTS = word_lists("shardmill.language", "nouns.yaml")

INVARIANT = _LISTS.words("invariant")
"""Nouns with one form for both numbers: "sheep"."""
PLURAL_ONLY = _LISTS.words("plural_only")
"""Nouns that have no singular: "scissors"."""
MASS = _LISTS.words("mass")
"""Nouns that are not counted: "water"."""
ARTICLES = frozenset({"a", "an", "the"})
_PLURAL_NUMBERS = _LISTS.words("plural_numbers")
_DETERMINERS = ARTICLES | _PLURAL_NUMBERS | _LISTS.words("determiners")
# "a pair of scissors" names scissors; "a cup of coffee" stays a cup.
_QUANTITY_OF = re.compile(rf"^(?:{'|'.join(sorted(_LISTS.words('quantities')))})s? of ")
_AFTER_HEAD = word_set("of with in on at for from to by under near over behind beside and")
_NUMERAL = re.compile(r"\d[\d.,]*$")
_EDGE = " \t\n.,;:!?\"'()[]{}<>*_"


@lru_cache(maxsize=_CACHE)
def plural(word: str) -> str:
    """Plural of a noun or of a phrase by its head: "knife" -> "knives", "cup of tea" -> "cups of tea"."""
    before, head, after = _split_head(word)
    return before + _plural(head) + after


@lru_cache(maxsize=_CACHE)
def singular(word: str) -> str:
    """Singular of one noun, lower-cased; a word that has none, or is singular already, comes back unchanged."""
    word = word.lower()
    if word in INVARIANT or word in PLURAL_ONLY or word in MASS or word in _PLURAL_OF:
        return word
    if word in _SINGULAR_OF:
        return _SINGULAR_OF[word]
    compound = _compound(word, _COMPOUNDED_MANY)
    if compound is not None:
        return compound
    # `inflect` takes every word for a plural that could be one: "agenda" would become "agendum" and "bus" lose its s. So it is
    # asked about words in -s alone, and not about those in -ss, -us and -is; "menus" and "skis" are in the table for that.
    if not word.endswith("s") or len(word) < 3 or (word.endswith(("ss", "us", "is", "'s")) and not word.endswith("eaus")):
        return word
    return str(_inflect().singular_noun(word) or word)


@lru_cache(maxsize=_CACHE)
def fold(phrase: str) -> str:
    """The canonical key of an object name: lower case, no article, quantity or number, head noun singular."""
    words = phrase.lower().replace("’", "'").strip(_EDGE).split()
    words = _without_determiners(words)
    text = " ".join(words)
    bare = _QUANTITY_OF.sub("", text, count=1)
    if bare != text:
        return fold(bare)
    before, head, after = _split_head(text)
    return before + singular(head) + after


@lru_cache(maxsize=_CACHE)
def is_plural(phrase: str) -> bool:
    """Whether the phrase takes "are": "dogs", "people", "two sheep", "scissors"; not "a pair of scissors"."""
    words = phrase.lower().strip(_EDGE).split()
    if not words:
        return False
    head = _split_head(" ".join(words))[1]
    if head in MASS:
        return False
    if head in PLURAL_ONLY:
        return True
    counted = any(word in _PLURAL_NUMBERS or (_NUMERAL.match(word) and word != "1") for word in words[:2])
    return counted if head in INVARIANT else singular(head) != head


@lru_cache(maxsize=_CACHE)
def is_mass(phrase: str) -> bool:
    """Whether the head noun is not counted: "water", "green grass"."""
    return _split_head(phrase.lower().strip(_EDGE))[1] in MASS


@lru_cache(maxsize=_CACHE)
def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" where English wants one: plurals, mass nouns and determined phrases stay bare."""
    words = phrase.split()
    determined = len(words) > 1 and words[0].lower() in _DETERMINERS  # "a couple"
    if not words or determined or _NUMERAL.match(words[0]) or is_plural(phrase) or is_mass(phrase):
        return phrase
    return f"{_article(words[0])} {phrase}"


def _article(word: str) -> str:
    return "an" if word.lower() in _LISTS.words("takes_an") else str(_inflect().a(word)).split()[0]


def _plural(word: str) -> str:
    low = word.lower()
    if low in INVARIANT or low in PLURAL_ONLY or low in MASS or low in _SINGULAR_OF:
        return word
    if low in _PLURAL_OF:
        return _PLURAL_OF[low]
    compound = _compound(word, _COMPOUNDED)
    if compound is not None:
        return compound
    # `inflect` gives every noun in -o that it does not list -oes ("banjoes"): the few that take it today are in the table.
    if low.endswith("o"):
        return word + "s"
    return str(_inflect().plural_noun(word))


def _compound(word: str, endings: Mapping[str, str]) -> str | None:
    """The word with its ending replaced by what `endings` gives for it; None where it has none of them."""
    low = word.lower()
    if low not in _LISTS.words("not_compounds"):
        for ending, other in endings.items():
            if low.endswith(ending):
                return word[: -len(ending)] + other
    return None


@cache
def _inflect() -> inflect.engine:
    """The engine of `inflect`, imported when a word is not in the tables.

    Each method of the engine is decorated by `typeguard`, which reads and parses the whole module again for each: 1.5 s that
    every worker would wait at its start, instead of 0.1 s, for checks of arguments that are always texts here.
    """
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = lambda function: function  # type: ignore[assignment]
    try:
        import inflect
    finally:
        typeguard.typechecked = checked
    return inflect.engine()


def _without_determiners(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) - 1 and (words[start] in _DETERMINERS or _NUMERAL.match(words[start])):
        start += 1
    if 0 < start < len(words) - 1 and words[start] == "of":
        return _without_determiners(words[start + 1 :])
    return words[start:]


def _split_head(phrase: str) -> tuple[str, str, str]:
    """(text before the head noun, head noun, text after it): the head stands before the first preposition."""
    words = phrase.split()
    if not words:
        return "", phrase, ""
    end = next((i for i, word in enumerate(words) if i and word in _AFTER_HEAD), len(words))
    before = " ".join(words[: end - 1])
    after = " ".join(words[end:])
    return before + " " if before else "", words[end - 1], " " + after if after else ""
