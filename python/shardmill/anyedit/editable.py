"""What can be done to which things: by their categories and kinds in the lexicon."""

from __future__ import annotations

from functools import cache

from shardmill.language.actions import is_human
from shardmill.language.appearance import has_word
from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import lexicon
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.anyedit", "editable.yaml")


def is_movable(name: str) -> bool:
    """Whether a thing can stand elsewhere by itself; one that the lexicon does not know can."""
    if is_background(name):
        return False
    return _is_of(name, "loose") or not (_is_of(name, "fixed") or _is_of(name, "worn"))


def is_resizable(name: str) -> bool:
    """Whether a larger or smaller one would still be what it is."""
    return is_movable(name) and not is_human(name)


def is_afloat(name: str) -> bool:
    """Whether a thing can be higher up or lower down: a bird, a picture on a wall."""
    return _is_of(name, "afloat")


def is_turnable(name: str) -> bool:
    """Whether people would turn a thing to see its other side."""
    return _is_of(name, "turned")


def is_part(name: str) -> bool:
    """Whether a thing is a part of another: a wheel, a hand."""
    entry = lexicon().find(name)
    return entry is not None and entry.category in ("part", "body")


def is_rooted(name: str) -> bool:
    """Whether a thing belongs to its background: a house, a bathtub, a kite in the sky."""
    return _is_of(name, "rooted") and not _is_of(name, "unrooted")


def is_colored(name: str) -> bool:
    """Whether a thing has a colour that people change."""
    return _is_of(name, "colored") and not _is_of(name, "colored_unfit")


def has_looks(name: str) -> bool:
    """Whether a thing can look another way: shiny, striped, dusty."""
    return _is_of(name, "altered") and not _is_of(name, "altered_unfit")


def colors_of(name: str, colors: list[str]) -> list[str]:
    """Those of some colours that a thing may have."""
    entry = lexicon().find(name)
    category = entry.category if entry is not None else ""
    own = {"animal": "animal_colors", "food": "food_colors", "plant": "food_colors"}.get(category)
    return [color for color in colors if own is None or color in _LISTS.phrases(own)]


def materials_of(name: str) -> tuple[str, ...]:
    """What a thing may be made of; nothing where nobody would say."""
    entry = lexicon().find(name)
    if entry is None or _is_of(name, "materials_unfit"):
        return ()
    if entry.category == "animal":
        return _LISTS.phrases("statues")
    table = _LISTS.table("materials")
    return next((tuple(table[kind]) for kind in (entry.name, *sorted(lexicon().kinds(entry))) if kind in table), ())


def is_place_bound(caption: str) -> bool:
    """Whether what happens in a caption belongs to one place, so that nobody puts it before another background."""
    return has_word(caption, _LISTS.words("place_bound"))


def _is_of(name: str, group: str) -> bool:
    """Whether a thing is of a group of the file: by its category, or as a kind of one of its `kinds`."""
    entry = lexicon().find(name)
    if entry is None:
        return False
    categories, kinds = _group(group)
    return entry.category in categories or not kinds.isdisjoint({entry.name, *lexicon().kinds(entry)})


@cache
def _group(group: str) -> tuple[frozenset[str], frozenset[str]]:
    """(categories, kinds) of a group; a list by its bare name is one of kinds."""
    categories = _LISTS.words(f"{group}_categories") if _LISTS.has(f"{group}_categories") else frozenset()
    listed = f"{group}_kinds" if _LISTS.has(f"{group}_kinds") else group
    return categories, frozenset(_LISTS.phrases(listed))
