"""What a usable object name is, and how lists of them are cleaned; shared by all stages that make or check lists."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.polarity import NEGATED, polarity
from shardmill.language.relations import mentions, relation
from shardmill.language.spelling import corrected
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "object_names.yaml")

MAX_WORDS = 4
MAX_CHARACTERS = 40
MARKS = re.compile(r"[\[\]{}<>|\\\n\r\t:;=#@*\"]")
SPILL = re.compile(
    r"\b(?:note|output|caption|answer|example|objects?|sorry|cannot|image|photo|picture|none|n/a)\b", re.IGNORECASE
)
DETERMINERS = _LISTS.words("determiners")
EDGE = " \t\r\n'\"“”‘’.,;:!?-–—*•"


def tidy(name: str) -> str:
    """A name without surrounding blanks, quotes and punctuation, articles and numbers, inner blanks single; case as it was."""
    words = name.strip(EDGE).split()
    while len(words) > 1 and (words[0].lower() in DETERMINERS or words[0].isdecimal()):
        words = words[1:]
    return " ".join(words)


def form_problem(name: str) -> str | None:
    """Why a text is no object name by its form alone; None when it may be one."""
    if not name or not any(character.isalpha() for character in name):
        return "no word"
    if len(name) > MAX_CHARACTERS or len(name.split()) > MAX_WORDS:
        return "too long"
    if MARKS.search(name):
        return "stray marks"
    if SPILL.search(name) and lexicon().exact(fold(name)) is None:
        return "not an object"
    return None


def distinct(names: Iterable[str]) -> list[str]:
    """Tidied names without those that fold to one seen before ("the dogs" after "dog")."""
    seen: dict[str, str] = {}
    for name in map(tidy, names):
        key = fold(name)
        if key and key not in seen:
            seen[key] = name
    return list(seen.values())


def is_named(name: str, caption: str) -> bool:
    """Whether a caption names an object, misspelled words read as what they must be."""
    return bool(mentions(caption, name) or mentions(corrected(caption), name))


def is_denied(name: str, caption: str) -> bool:
    """Whether a caption says of an object that it is absent, and nowhere that it is there."""
    return polarity(corrected(caption), name) == NEGATED


def negative_problem(name: str, positives: Iterable[str], caption: str) -> str | None:
    """Why a name cannot be a negative of this row, as `conflict` says; what the caption itself denies can be one."""
    return conflict(name, positives, "" if is_denied(name, caption) else caption)


def conflict(name: str, positives: Iterable[str], caption: str) -> str | None:
    """Why a name cannot be a negative of this row: the caption names it, or it is or belongs to a positive."""
    if is_named(name, caption):
        return "named in the caption"
    for positive in positives:
        kind = relation(name, positive)
        if kind is not None:
            return f"{'same as' if kind == 'same' else kind + ' of'} {positive}"
    return None
