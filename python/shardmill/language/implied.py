"""Which objects may be there though no caption names them: a skateboarder's skateboard, the grass of a pasture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from shardmill.language.lexicon import lexicon
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "canonical_names.yaml")
_ROOMS = frozenset(_LISTS.phrases("rooms"))
_TOLD_APART = _LISTS.words("told_apart")
_COMES_WITH = _LISTS.table("comes_with")


def implied_pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The pairs of names, in both orders, of which one cannot be said to be absent where the other is there."""
    known = frozenset(names)
    yield from permutations(sorted(_ROOMS & known), 2)
    pairs = [(name, other) for name in sorted(known & _COMES_WITH.keys()) for other in _COMES_WITH[name] if other in known]
    people = sorted(name for name in known - _TOLD_APART if (entry := lexicon().find(name)) and entry.category == "person")
    pairs += [(one, other) for one in people for other in sorted(_TOLD_APART & known)]
    for one, other in pairs:
        yield one, other
        yield other, one
