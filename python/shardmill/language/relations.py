"""How two object names relate, and where a text mentions an object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.nouns import fold, plural

_CACHE = 1 << 16


@lru_cache(maxsize=_CACHE)
def relation(a: str, b: str) -> str | None:
    """How two names relate: "same", "synonym", "hypernym" or "part" (either direction), or None."""
    if not are_related(a, b):
        return None
    first, second = fold(a), fold(b)
    if first == second:
        return "same"
    if set(lexicon().senses(first)) & set(lexicon().senses(second)):
        return "synonym"
    if _is_kind(first, second) or _is_kind(second, first):
        return "hypernym"
    if _has_part(first, second) or _has_part(second, first):
        return "part"
    return None


def are_related(a: str, b: str) -> bool:
    """Whether `relation` finds any: a few set operations, on sets that are made once for each name."""
    (own, related), (other, others_related) = _marks(a), _marks(b)
    return not (related.isdisjoint(other) and others_related.isdisjoint(own))


@lru_cache(maxsize=_CACHE)
def _marks(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a name can be known by, and the marks of all that it relates to.

    A mark is a name in its canonical form (=), an entry that the name may mean (~), has as its own (!) or falls back to (?).
    """
    words, key = lexicon(), fold(name)
    same = {f"={key}", *(f"~{entry.name}" for entry in words.senses(key))}
    own, related = set(same), set(same)
    exact, found = words.exact(key), words.find(key)
    if exact is not None:
        own.add(f"!{exact.name}")
    elif " of " not in key:
        # A name that the lexicon does not have is a kind of each of its ends: a red sports car is a sports car, and a car.
        related.update(f"={key[index + 1 :]}" for index, char in enumerate(key) if char == " ")
    if found is not None:
        own.add(f"?{found.name}")
        related.add(f"!{found.name}")
        related.update(f"{mark}{kind}" for kind in words.kinds(found) for mark in "=~")
        related.update(f"{mark}{part}" for part in words.parts(found) for mark in "=?")
    # A cup of coffee is related to coffee, which it holds, and by its entry to cups.
    if " of " in key:
        related.add(f"={fold(key.split(' of ', 1)[1])}")
    return frozenset(own), frozenset(related)


@lru_cache(maxsize=_CACHE)
def _pattern(name: str) -> tuple[tuple[str, ...], re.Pattern[str]]:
    """The spellings that name an object, and a pattern whose group 1 is such a spelling, standing for itself."""
    spellings = _spellings(name)
    longer = sorted(_longer_names(name, spellings), key=lambda text: (-len(text), text))
    own = "|".join(re.escape(text).replace(r"\ ", r"\s+") for text in spellings)
    other = "|".join(re.escape(text).replace(r"\ ", r"\s+") for text in longer)
    body = f"(?:{other})|({own})" if other else f"({own})"
    return spellings, re.compile(rf"(?<![\w-])(?:{body})(?![\w-])", re.IGNORECASE)


def mentions(text: str, name: str) -> list[tuple[int, int]]:
    """Character spans where the text names the object: by its words in either number, or by a listed synonym.

    A longer name of something else hides the shorter one in it: "hot dog" is no mention of "dog".
    """
    spellings, pattern = _pattern(name)
    low = text.lower()
    if not any(_first_word(spelling) in low for spelling in spellings):
        return []
    return [match.span(1) for match in pattern.finditer(text) if match.group(1)]


def as_worded(text: str, name: str) -> str:
    """The object in the words and the number in which a text first names it: "dogs" for a dog of "Two Dogs"; else its name."""
    spans = mentions(text, name) if name else []
    return " ".join(text[slice(*spans[0])].lower().split()) if spans else name


def _is_kind(narrow: str, wide: str) -> bool:
    """Whether `narrow` is a kind of `wide`, by the lexicon or because its head is that word: a red car is a car."""
    words = lexicon()
    entry = words.exact(narrow)
    if entry is None:
        entry = words.find(narrow)
        if (" of " not in narrow and narrow.endswith(" " + wide)) or (entry is not None and entry is words.exact(wide)):
            return True
    if entry is None:
        return False
    kinds = words.kinds(entry)
    return wide in kinds or any(wider.name in kinds for wider in words.senses(wide))


def _has_part(whole: str, part: str) -> bool:
    """Whether `part` belongs to `whole`, or is what it holds: the wheel of a car, the coffee of a cup of coffee."""
    words = lexicon()
    if " of " in whole and fold(whole.split(" of ", 1)[1]) == part:
        return True
    entry, piece = words.find(whole), words.find(part)
    if entry is None:
        return False
    parts = words.parts(entry)
    return part in parts or (piece is not None and piece.name in parts)


def _first_word(spelling: str) -> str:
    return spelling.partition(" ")[0]


def _spellings(name: str) -> tuple[str, ...]:
    """Every way to write the name, longest first."""
    entry = lexicon().exact(name)
    bases = [" ".join(name.lower().split()), fold(name)]
    if entry:
        bases += [entry.plural, *entry.names]
    forms = {form for base in bases for form in (base, plural(base))}
    return tuple(sorted(filter(None, forms), key=lambda text: (-len(text), text)))


@cache
def _multiword_names() -> dict[str, tuple[tuple[str, LexiconEntry], ...]]:
    """Lexicon names of several words, in both numbers, by each word they contain."""
    found: dict[str, list[tuple[str, LexiconEntry]]] = {}
    for entry in lexicon().entries.values():
        for name in entry.names:
            if " " in name:
                for form in sorted({name, plural(name)}):
                    for word in sorted(set(form.split())):
                        found.setdefault(word, []).append((form, entry))
    return {word: tuple(items) for word, items in found.items()}


def _longer_names(name: str, spellings: tuple[str, ...]) -> Iterator[str]:
    """Longer lexicon names that contain a spelling without being a kind of the object."""
    own = lexicon().exact(name)
    for spelling in spellings:
        for form, entry in _multiword_names().get(_first_word(spelling), ()):
            contains = f" {spelling} " in f" {form} " and form not in spellings
            if contains and entry is not own and not _is_kind(entry.name, fold(name)):
                yield form


def related_pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs (a, b) of the names, in both orders, that `are_related`: found by what they share, not one by one."""
    having: dict[str, list[str]] = {}
    for name in names:
        for mark in _marks(name)[0]:
            having.setdefault(mark, []).append(name)
    for name in names:
        for other in {other for mark in _marks(name)[1] for other in having.get(mark, ())} - {name}:
            yield name, other
            yield other, name
