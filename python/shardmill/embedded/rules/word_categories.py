"""Which words of a text belong to a category that a field's name gives: colours, animals, places, actions and so on.

The categories are the word lists of `language` (colours, materials, sizes, weather, …), the word classes of its tagger (verbs,
adjectives), and every category and every hypernym of the lexicon: `vehicles`, `fruit`, `dogs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from shardmill.language.actions import actions
from shardmill.language.appearance import COLORS, HOURS, MATERIALS, SEASONS, SIZES, WEATHER, words_of
from shardmill.language.caption_text import tokens
from shardmill.language.lexicon import lexicon
from shardmill.language.locatives import is_place
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import fold, singular
from shardmill.language.numbers import numbers_in
from shardmill.language.relations import mentions
from shardmill.language.tagging import tag
from shardmill.language.word_classes import ADJECTIVE, GERUND, VERB

Finder = Callable[[str], list[str]]

OBJECTS = "object"
"""The category of all visible things, which is also the fallback."""
_SAME = {
    "colour": "color", "hue": "color", "human": "person", "people": "person", "thing": OBJECTS, "item": OBJECTS,
    "entity": OBJECTS, "noun": OBJECTS, "subject": OBJECTS, "name": OBJECTS, "verb": "action", "activity": "action",
    "location": "place", "scene": "place", "setting": "place", "background": "place", "time": "hour", "moment": "hour",
    "fabric": "material", "attribute": "adjective", "property": "adjective", "keyword": "word", "token": "word",
    "tag": OBJECTS, "label": OBJECTS, "digit": "number",
}  # fmt: skip
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def name_words(name: str) -> list[str]:
    """The words of a field's name in lower case and in the singular: `mainColors` and `main_colors` are `main`, `color`."""
    return [singular(word.lower()) for word in _NAME_WORD.findall(name)]


def category_of(name: str, description: str = "") -> str | None:
    """The category that a field asks for, by its name, else by its description; None when neither names one.

    The last word of a name counts most: `animal_colors` are colours.
    """
    for words in (reversed(name_words(name)), name_words(description)):
        for word in words:
            if (category := _SAME.get(word, word)) in _finders():
                return category
    return None


def words_in(text: str, category: str) -> list[str]:
    """The words of a text that belong to a category, each once, in the order of the text."""
    return list(dict.fromkeys(_finders()[category](text)))


def count_in(text: str, names: Iterable[str]) -> int:
    """How many things of these names a text speaks of: "two dogs and a kite" names three things."""
    return sum(max(_count_of(text, name), 1) for name in names)


def _count_of(text: str, name: str) -> int:
    """The number right before the first mention of a name, with one word between them at most; 0 without a number."""
    for number in numbers_in(text):
        for start, _ in mentions(text, name):
            if number.end <= start and len(text[number.end : start].split()) <= 1:
                return number.value
    return 0


@cache
def _finders() -> dict[str, Finder]:
    """Every category with the function that finds its words."""
    listed = {"color": COLORS, "material": MATERIALS, "size": SIZES, "weather": WEATHER, "season": SEASONS, "hour": HOURS}
    finders: dict[str, Finder] = {kind: _kind_finder(kind) for kind in _kinds()}
    finders |= {category: _list_finder(words) for category, words in listed.items()}
    return finders | {
        OBJECTS: extract_objects,
        "place": lambda text: [name for name in extract_objects(text) if is_place(name)],
        "action": lambda text: [action.verb for action in actions(text)] or _tagged(text, VERB, GERUND),
        "adjective": lambda text: _tagged(text, ADJECTIVE),
        "number": lambda text: [number.text for number in numbers_in(text)],
        "word": words_of,
    }


def _kinds() -> set[str]:
    """The lexicon's categories, and every entry of the lexicon: whatever is a kind of it belongs to it."""
    entries = lexicon().entries.values()
    return {entry.category for entry in entries} | {kind for entry in entries for kind in (entry.name, *entry.hypernyms)}


def _kind_finder(kind: str) -> Finder:
    def find(text: str) -> list[str]:
        known = lexicon()
        named = [(name, entry) for name in extract_objects(text) if (entry := known.find(name)) is not None]
        return [name for name, entry in named if kind in (entry.category, entry.name, *known.kinds(entry)) or fold(name) == kind]

    return find


def _list_finder(words: frozenset[str]) -> Finder:
    return lambda text: [word for word in words_of(text) if word in words]


def _tagged(text: str, *classes: str) -> list[str]:
    return [word.text for word in tag(tokens(text)) if word.kind in classes]
