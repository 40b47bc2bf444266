"""Whether a caption shows the open air, a room or no place at all: what weather, season and hour can be seen in it."""

from __future__ import annotations

from shardmill.language.appearance import has_word
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "scene_words.yaml")

_INDOORS = _LISTS.words("indoors", "no_scene")
_OUTDOORS = _LISTS.words("outdoors")


def is_outdoors(caption: str) -> bool:
    """Whether a caption shows the open air, where weather and season are seen."""
    return has_word(caption, _OUTDOORS) and not has_word(caption, _INDOORS)


def is_indoors(caption: str) -> bool:
    """Whether a caption shows a room, or things of one."""
    return has_word(caption, _LISTS.words("indoors"))


def shows_hour(caption: str) -> bool:
    """Whether a caption shows a place where the time of day is seen: the open air, or a room."""
    is_room = has_word(caption, _LISTS.words("rooms")) and not has_word(caption, _LISTS.words("no_scene"))
    return is_outdoors(caption) or is_room


def is_snowbound(caption: str) -> bool:
    """Whether a caption shows snow or ice, and so has its season."""
    return has_word(caption, _LISTS.words("snowbound"))
