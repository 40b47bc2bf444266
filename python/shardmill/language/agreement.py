"""Whether articles and verbs of a sentence agree with the objects that it names: "a dogs", "there is no cats"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shardmill.language.nouns import INVARIANT, fold, is_mass, is_plural
from shardmill.language.relations import mentions

_BE = r"(?:is|isn't|is not|was|are|aren't|are not|were)"
_OWN_ARTICLE = re.compile(r"\b(?:an?|another|each|every) $", re.IGNORECASE)
_MANY = re.compile(r"\b(?:these|those|several|many|few|two|three|four|five) $", re.IGNORECASE)
_EXISTENCE = re.compile(rf"\bthere ({_BE}) (?:no |any |not any )?$", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|[.!?:;,] |\b(?:but|while|as|although|and) (?=no ))(?:no |the |an? )?$", re.IGNORECASE)
_VERB = re.compile(rf"\s+({_BE})\b", re.IGNORECASE)
_OF_ONE = ("is", "was")


def agreement_problem(text: str, names: Iterable[str]) -> str | None:
    """What does not agree with one of the objects where the text names it, as it is written there; None if all does."""
    for name in names:
        for start, end in mentions(text, name):
            if (found := _problem_at(text, start, end)) is not None:
                return found
    return None


def _problem_at(text: str, start: int, end: int) -> str | None:
    before, named = text[:start], text[start:end].lower()
    if fold(named).rpartition(" ")[2] in INVARIANT or _is_modifier(text, end):
        return None
    many = is_plural(named)
    if many and _OWN_ARTICLE.search(before):
        return f"{before.split()[-1]} {named}"
    if not many and not is_mass(named) and _MANY.search(before):
        return f"{before.split()[-1]} {named}"
    if (found := _EXISTENCE.search(before)) and _is_of_one(found[1]) == many and not _is_listed(text, end):
        return f"{found[0].strip()} {named}"
    verb = _VERB.match(text, end)
    if verb and _SUBJECT.search(before) and _is_of_one(verb[1]) == many:
        return f"{named} {verb[1]}"
    return None


def _is_of_one(verb: str) -> bool:
    return verb.lower().startswith(_OF_ONE)


def _is_modifier(text: str, end: int) -> bool:
    """Whether a hyphen or an apostrophe goes on where the name ends: "a scissors-shaped sign"."""
    return text[end : end + 1] in ("-", "'", "’")


def _is_listed(text: str, end: int) -> bool:
    """Whether other objects follow: of "a man and a pizza" there is or there are both."""
    return re.match(r"(?:,| and| or| nor)\b", text[end:]) is not None or text[end : end + 1] == ","
