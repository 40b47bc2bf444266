"""Which things are the background of a picture and no object that stands in it."""

from __future__ import annotations

from shardmill.language.appearance import HOURS, SEASONS, WEATHER
from shardmill.language.lexicon import lexicon
from shardmill.language.locatives import is_place
from shardmill.language.nouns import fold

_SKY = WEATHER | HOURS | SEASONS
_WIDE = frozenset({"ground", "water", "cloud", "mountain"})


def is_background(name: str) -> bool:
    """Whether a name is that of a place or of a wide thing: a beach, the sky, a meadow. A tower is an
    object, and so is a bed; the weather is not, nor a sunset.
    """
    entry = lexicon().find(name)
    if fold(name) in _SKY or fold(name) in lexicon().scenes or (entry is not None and entry.shape in _WIDE):
        return True
    return is_place(name) and (entry is None or entry.category == "nature")
