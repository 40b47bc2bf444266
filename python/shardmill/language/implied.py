"""Which objects may be there though no caption names them: a skateboarder's skateboard, the grass of a pasture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import permutations, product

from shardmill.language.lexicon import lexicon
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "canonical_names.yaml")
NEVER_ABSENT = _LISTS.words("always_there") | _LISTS.words("vague")
"""What is in nearly every picture whether it is named or not, and what may be anything; no question is about it."""
_ROOMS = frozenset(_LISTS.phrases("rooms"))
_ALIKE = [frozenset(group.split("|")) for group in _LISTS.phrases("alike")]
_TOLD_APART = _LISTS.words("told_apart")
_COMES_WITH = _LISTS.table("comes_with")
_WORN = frozenset(_LISTS.phrases("worn_by_people"))


def implied_pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The pairs of names, in both orders, of which one cannot be said to be absent where the other is there."""
    known = frozenset(names)
    for group in (_ROOMS, *_ALIKE):
        yield from permutations(sorted(group & known), 2)
    called = {name: _called(name) for name in sorted(known)}
    of: dict[str, list[str]] = {}
    for name, terms in called.items():
        for term in terms:
            of.setdefault(term, []).append(name)
    pairs = [
        (name, part)
        for whole, others in _COMES_WITH.items()
        for name, other in product(of.get(whole, ()), others)
        for part in of.get(other, ())
    ]
    people, animals, bodies = (_of_category(known, category) for category in ("person", "animal", "body"))
    worn = sorted(known & _WORN)
    pairs += product([name for name in people if name not in _TOLD_APART], sorted(_TOLD_APART & known))
    pairs += [*product(people, worn), *product([*people, *animals], bodies)]
    for one, other in pairs:
        if one != other:
            yield one, other
            yield other, one


def is_implied(name: str, other: str) -> bool:
    """Whether a name cannot be said to be absent where the other is there."""
    if name in NEVER_ABSENT or any(name in group and other in group for group in (_ROOMS, *_ALIKE)):
        return True
    for one, two in ((name, other), (other, name)):
        if any(part in _COMES_WITH.get(whole, ()) for whole in _called(one) for part in _called(two)):
            return True
        category, of_two = _category(one), _category(two)
        if category == "person" and (two in _WORN or (two in _TOLD_APART and one not in _TOLD_APART)):
            return True
        if category in ("person", "animal") and of_two == "body":
            return True
    return False


@lru_cache(maxsize=1 << 16)
def _called(name: str) -> frozenset[str]:
    """A name, and what it is a kind of: a transit bus is a bus."""
    entry = lexicon().find(name)
    return frozenset({name, entry.name}) if entry is not None else frozenset({name, name.rpartition(" ")[2]})


def _of_category(names: frozenset[str], category: str) -> list[str]:
    return sorted(name for name in names if _category(name) == category)


@lru_cache(maxsize=1 << 16)
def _category(name: str) -> str | None:
    entry = lexicon().find(name)
    return entry.category if entry is not None else None
