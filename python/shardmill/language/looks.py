"""What things look like, in words: colours, materials, sizes, weather, seasons and hours. Whole words only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shardmill.language.cues import word_set

COLORS = word_set(
    "red blue green yellow white black brown orange pink purple gray grey gold golden silver turquoise maroon teal navy beige",
    "lavender magenta olive coral crimson indigo mint peach violet ivory burgundy khaki cyan scarlet lilac mustard tan amber",
    "bronze emerald charcoal cream rust aqua fuchsia mauve ochre sapphire",
)
SHADES = word_set("light dark bright pale deep soft vivid pastel neon metallic sky lime olive royal navy blood rose hot matte")
"""Words that may stand before a colour and belong to it."""

_FABRICS = "leather wool silk cotton denim velvet linen felt lace knitted wicker rattan bamboo straw paper cardboard origami"
_SOLIDS = (
    "wood wooden oak pine glass crystal metal metallic steel iron bronze copper brass gold golden silver aluminium aluminum "
    "stone marble granite concrete brick clay ceramic porcelain plaster plastic rubber wax ice chocolate jade statue foam"
)
MATERIALS = word_set(_FABRICS, _SOLIDS)
SIZES = word_set(
    "big bigger biggest small smaller smallest large larger largest tiny huge giant gigantic little tall taller short shorter",
    "long longer wide wider narrow narrower enormous massive",
)
VAGUE = word_set(
    "different better nicer nice beautiful good other another new interesting cool great improved changed modified special",
    "attractive",
)
HUMANS = word_set(
    "human person people man men woman women boy boys girl girls child children kid kids baby adult adults guy lady somebody",
    "someone crowd family couple player players friend friends tourist tourists commuter commuters",
)
WEATHER = word_set(
    "sunny sunshine sun rain rainy raining drizzle storm stormy thunderstorm lightning snow snowy snowing snowfall blizzard hail",
    "fog foggy mist misty haze hazy cloudy clouds overcast wind windy gale clear sky frost frosty heat monsoon downpour sleet",
    "rainbow weather",
)
HOURS = word_set(
    "dawn sunrise morning noon midday afternoon evening dusk sunset twilight night nighttime midnight daytime daylight moonlight",
    "moonlit golden hour starry",
)
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
