"""Which things are the background of a picture and no object that stands in it."""

from __future__ import annotations

from shardmill.language.lexicon import lexicon
from shardmill.language.looks import HOURS, SEASONS, WEATHER
from shardmill.language.nouns import fold
from shardmill.language.places import is_place

_SKY = WEATHER | HOURS | SEASONS
_WIDE = frozenset({"ground", "water", "cloud", "mountain"})


def is_backdrop(name: str) -> bool:
    """Whether a name is that of a place or of a wide thing: a beach, the sky, a meadow. A tower is an
    object, and so is a bed; the weather is not, nor a sunset."""
    entry = lexicon().find(name)
    if fold(name) in _SKY or fold(name) in lexicon().scenes or (entry is not None and entry.shape in _WIDE):
        return True
    return is_place(name) and (entry is None or entry.category == "nature")
