"""Which names are those of one make, model, person or place instead of a kind of thing."""

from __future__ import annotations

import re
from functools import lru_cache

from shardmill.language.general_english import general_lexicon
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import singular
from shardmill.language.physical_nouns import physical_nouns
from shardmill.language.visibility import THINGS, is_known
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "proper_names.yaml")

MODEL, PROPER = "make or model", "proper noun"

# Names that are written in lower case often enough, and are no kind of thing.
_NAMES = _LISTS.words("names")
# Written with a capital within the name of a kind of thing: "Ferris wheel", "Venetian blind".
_NAMED_KINDS = _LISTS.words("named_kinds")
_ACRONYMS = _LISTS.words("acronyms")
# Digits that belong to a kind of thing: "1950s car", "3d printer", "18-wheeler".
_NUMBERED = re.compile(r"(?:1[89]\d\d|20\d\d|\d0)s|[234]d|mp[34]|4x4|\d{1,2}-[a-z]+(?:-[a-z]+)*", re.IGNORECASE)
_LOWER_WORD = re.compile(r"(?<![\w'’-])[a-z]{2,}(?![\w'’-])")
_SMALL_WORDS = word_set("a an the of in on at and with for to from by de la")


def proper_problem(name: str, *, capitals_tell: bool = True) -> str | None:
    """Why a name is no name of a kind of thing: "make or model", "proper noun", or None where nothing says so.

    `capitals_tell` is False where the list that the name is from writes every name with capitals.
    """
    if lexicon().exact(name) is not None:
        return None
    words = name.split()
    if any(character.isdigit() for word in words if not _NUMBERED.fullmatch(word) for character in word):
        return MODEL
    bare = [word.lower().removesuffix("'s") for word in words]
    if any(word in _NAMES for word in bare):
        return PROPER
    if not capitals_tell:
        return None
    telling = [word for word in words if word.lower() not in _SMALL_WORDS]
    capitals = [word for word in telling if word[0].isupper() and word.lower() not in _ACRONYMS]
    if len(telling) > 1 and len(capitals) == len(telling):
        return PROPER
    named = [word for word in capitals if not _names_a_kind(word, alone=len(telling) == 1)]
    if any(not is_common(word) or word is not telling[0] for word in named):
        return PROPER
    return None


@lru_cache(maxsize=1 << 16)
def is_common(word: str) -> bool:
    """Whether English has the word, in either number, other than as a name; joined words if it has each of them."""
    low = word.lower()
    if any(is_known(each) or each in THINGS or each in general_lexicon() for each in (low, singular(low))):
        return True
    return "-" in low.strip("-") and all(part and is_common(part) for part in low.split("-"))


def capitalized(text: str) -> str:
    """A text in lower case with the capitals of its proper names, nationalities and acronyms: "a Christmas tree", "an SUV"."""
    return _LOWER_WORD.sub(lambda match: _with_capitals(match.group()), text)


def _with_capitals(word: str) -> str:
    if word in _ACRONYMS and word.isalpha():
        return word.upper()
    if word.endswith("s") and word[:-1] in _ACRONYMS and word.isalpha():
        return f"{word[:-1].upper()}s"  # "TVs"
    return word.capitalize() if is_proper(word) else word


@lru_cache(maxsize=1 << 16)
def is_proper(word: str) -> bool:
    """Whether English has a word in lower case with a capital alone: a name, a nationality, a feast."""
    general = general_lexicon()
    if word in _NAMED_KINDS:
        return True
    if len(word) < 3:
        return False
    if word in general or is_known(word) or word in THINGS or singular(word) in physical_nouns():
        return False
    return general.get(word.capitalize(), "")[:3] in ("NNP", "JJ")


@lru_cache(maxsize=1 << 16)
def is_plain(word: str) -> bool:
    """Whether English has a word in lower case, and as no name: it may lose its capital within a sentence."""
    general = general_lexicon()
    return (word in general or is_known(word)) and not general.get(word.capitalize(), "").startswith("NNP")


def _names_a_kind(word: str, alone: bool) -> bool:
    """Whether a capital is the rule in the word: a nationality, a feast; it names nothing by itself."""
    return not alone and (word.lower() in _NAMED_KINDS or general_lexicon().get(word, "").startswith("JJ"))
