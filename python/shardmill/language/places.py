"""Backgrounds as phrases that a sentence can end with: "in a harbour", "on a kitchen counter"."""

from __future__ import annotations

import re
from functools import lru_cache

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, is_mass, is_plural, with_article
from shardmill.language.visibility_words import word_set

PREPOSITIONS = word_set(
    """
    in on at near beside under above over behind inside outside by beneath below between among along across against around
    atop off high deep amid underneath within aboard alongside next before through
    """
)
_FREE = word_set("underwater outdoors indoors underground backstage offshore overhead mid-air")
"""Places that need no preposition."""
_HEADS = {
    "on": word_set(
        """
        beach street road highway sidewalk pavement table counter countertop shelf desk floor stage platform sofa couch bed roof
        rooftop pier dock porch balcony patio terrace lawn hill hillside mountain slope farm ranch island bridge path trail field
        court plate windowsill bench boat ship deck wall ceiling carpet rug branch rock sand track coast shore riverbank
        playground runway sideboard nightstand mantelpiece ledge cliff dune savanna plain prairie railway driveway ice tray
        workbench worktop tabletop stove board
        """
    ),
    "at": word_set(
        "station airport market party zoo museum wedding fair festival picnic school campsite campground crossroads intersection "
        "event concert"
    ),
}
_PLACES = word_set(
    """
    room house home kitchen forest jungle lake pond ocean city town village valley meadow yard backyard courtyard plaza square
    cafe store supermarket mall warehouse factory barn stable greenhouse studio gallery library museum theater theatre stadium
    arena aquarium cave canyon swamp marsh wetland orchard vineyard reef bay port marina harbour canal stream creek waterfall
    glacier tundra rainforest woods campsite campground cabin church temple castle hotel lobby hallway corridor attic basement
    garage shed lab laboratory gym spa clinic nursery studio bar pub diner bakery cinema alley suburb countryside
    cellar lagoon lakeside seaside
    """
)
_KEPT = re.compile(r"(?:the|a|an|some|his|her|its|their)\b")


def is_locative(phrase: str) -> bool:
    """Whether a phrase says where: it starts with a preposition, or is a place by itself ("underwater")."""
    first = phrase.lower().split(" ", 1)[0]
    return (first in PREPOSITIONS and " " in phrase) or phrase.lower() in _FREE


def is_place(phrase: str) -> bool:
    """Whether a bare phrase names a place."""
    key = fold(phrase)
    head = key.rpartition(" ")[2]
    return bool(lexicon().in_scene(key)) or head in _PLACES or any(head in heads for heads in _HEADS.values())


@lru_cache(maxsize=1 << 14)
def locative(phrase: str) -> str:
    """A phrase that says where: as it is, or a place with its preposition and article: "harbour" -> "in a harbour"."""
    phrase = " ".join(phrase.split())
    if not phrase or is_locative(phrase):
        return phrase
    key = fold(phrase)
    head = key.rpartition(" ")[2]
    preposition = next((name for name, heads in _HEADS.items() if head in heads or key in heads), "in")
    bare = _KEPT.match(phrase.lower()) or is_plural(phrase) or is_mass(phrase)
    return f"{preposition} {phrase if bare else with_article(phrase)}"


def place_key(phrase: str) -> str:
    """What phrases for one place share: "in a kitchen", "in the kitchens" and "kitchen"; "under a table" is another place."""
    words = phrase.lower().strip(" .").split()
    first = words[0] if len(words) > 1 and words[0] in PREPOSITIONS else ""
    rest = fold(" ".join(words[1:] if first else words))
    return rest if first in ("", "in", "on", "at", "inside", "within") else f"{first} {rest}"
