"""What things look like, in words: colours, materials, sizes, weather, seasons and hours. Whole words only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "appearance.yaml")

COLORS = _LISTS.words("colors")
SHADES = _LISTS.words("shades")
"""Words that may stand before a colour and belong to it."""

MATERIALS = _LISTS.words("fabrics", "solids")
SIZES = _LISTS.words("sizes")
VAGUE = _LISTS.words("vague")
HUMANS = _LISTS.words("humans")
WEATHER = _LISTS.words("weather")
HOURS = _LISTS.words("hours")
SEASONS = word_set("spring summer autumn fall winter springtime summertime wintertime season autumnal wintry")
ASPECTS = {"weather": WEATHER, "time of day": HOURS, "season": SEASONS}

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; "sea-green" is two."""
    return [word.lower() for word in _WORD.findall(text)]


def has_word(text: str, words: Iterable[str]) -> bool:
    """Whether a text has one of the words as a whole word: "covered" has no "red"."""
    return not frozenset(words).isdisjoint(words_of(text))


def is_stuff(text: str, name: str) -> bool:
    """Whether a name tells in a text what something is made of: the denim of "a book made of denim", no glass on a table."""
    return (
        name.lower() in MATERIALS
        and re.search(rf"\b(?:made|built|carved) (?:out )?of (?:\w+ )?{re.escape(name)}\b", text, re.I) is not None
    )


def color_key(text: str) -> str | None:
    """The colour that a text of one to three words is ("Dark Grey" -> "dark gray"); None for anything else."""
    words = ["gray" if word == "grey" else word for word in words_of(text)]
    rest = [word for word in words if word not in ("colored", "coloured", "color", "colour")]
    if not rest or len(rest) > 3 or rest[-1] not in COLORS or any(word not in SHADES | COLORS for word in rest[:-1]):
        return None
    return " ".join(rest)


def names_color(text: str, color: str) -> bool:
    """Whether a text has the colour, in either spelling of gray."""
    key = color_key(color) or color.lower()
    plain = " ".join("gray" if word == "grey" else word for word in words_of(text))
    return f" {key} " in f" {plain} "
