"""Whether a sentence says that an object is there or that it is not: the checker behind every generated caption.

Our own few dozen rules and no model; `tests/data/polarity_sentences.csv` is what they are held to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shardmill.language.function_words import AUXILIARIES
from shardmill.language.named_objects import named_objects
from shardmill.language.relations import mentions, relation
from shardmill.language.scopes import Scope, scopes

AFFIRMED, NEGATED, ABSENT, MIXED = "affirmed", "negated", "absent", "mixed"
AFFIRMATION_FIRST, NEGATION_FIRST, OTHER = "affirmation_first", "negation_first", "other"
_ARTICLE = re.compile(r"\b(?:an?|the|no|any) $")
_KIN = frozenset({"same", "synonym", "hypernym"})


def polarity(sentence: str, name: str) -> str:
    """What the sentence says of the object: "affirmed", "negated", "absent" (not named) or "mixed" (both ways, or hedged)."""
    ways = {way for _, way, _ in _named(sentence, name)}
    if not ways:
        return ABSENT
    return ways.pop() if len(ways) == 1 else MIXED


def cue(sentence: str, name: str) -> str | None:
    """The cue that negates the object ("no", "without", "not" for "n't"), or None if nothing does."""
    for _, way, governing in _named(sentence, name):
        if way == NEGATED:
            return governing[-1].cue
    return None


def form(sentence: str, affirmed: Iterable[str], negated: Iterable[str]) -> str:
    """Which kind of object the sentence names first; "other" if it does not name both kinds."""
    yes = _first(sentence, affirmed)
    no = _first(sentence, negated)
    if yes is None or no is None:
        return OTHER
    return AFFIRMATION_FIRST if yes < no else NEGATION_FIRST


def check_negated(sentence: str, affirmed: Iterable[str], negated: Iterable[str], require_all: bool = False) -> str | None:
    """None if each negative is denied and the positives that are named stand, at least one of them; else what is wrong."""
    missing = []
    some = False
    for name in affirmed:
        way = polarity(sentence, name)
        if way == ABSENT:
            missing.append(name)
        elif way != AFFIRMED:
            return f"{name} is {way}"
        some = some or way == AFFIRMED
    if missing and (require_all or not some):
        return f"{missing[0]} is not named"
    return check_polarity(sentence, dict.fromkeys(negated, False))


def check_polarity(sentence: str, objects: Mapping[str, bool]) -> str | None:
    """None if every object is named, affirmed where the value is true and negated where it is false; else what is wrong."""
    for name, wanted in objects.items():
        way = polarity(sentence, name)
        if way == ABSENT:
            return f"{name} is not named"
        if way != (AFFIRMED if wanted else NEGATED):
            return f"{name} is {way}"
    return None


def new_objects(sentence: str, allowed: Iterable[str], source: str = "") -> list[str]:
    """Lexicon objects that the sentence names and that are neither allowed, nor kin of those, nor named in the source."""
    names = [*allowed, *(entry.name for entry in named_objects(source))]
    return [entry.name for entry in named_objects(sentence) if not any(relation(entry.name, name) in _KIN for name in names)]


def _named(sentence: str, name: str) -> list[tuple[int, str, list[Scope]]]:
    """Each mention of the object: (where it starts, its polarity, the scopes that hold it)."""
    text, all_scopes = scopes(sentence)
    found = []
    for start in _starts(text, name):
        governing = [scope for scope in all_scopes if scope.start <= start < scope.end]
        way = NEGATED if len(governing) % 2 else AFFIRMED
        if any(scope.hedge for scope in governing):
            way = MIXED
        found.append((start, way, governing))
    return found


def _first(sentence: str, names: Iterable[str]) -> int | None:
    text, _ = scopes(sentence)
    return min((start for name in names for start in _starts(text, name)[:1]), default=None)


def _starts(text: str, name: str) -> list[int]:
    """Where the text names the object; "can be seen" names no can and "does not" no deer."""
    spans = mentions(text, name)
    return [start for start, end in spans if text[start:end] not in AUXILIARIES or _ARTICLE.search(text, 0, start)]
