"""Which nouns name a thing that can be seen."""

from __future__ import annotations

from functools import lru_cache

from shardmill.language.general_english import general_lexicon
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, singular
from shardmill.language.physical_nouns import physical_nouns
from shardmill.language.word_lists import word_lists

_CACHE = 1 << 16
_LISTS = word_lists("shardmill.language", "visibility.yaml")

IMAGE_WORDS = _LISTS.words("image_words")
"""Words about the picture instead of what it shows."""

PLACE_IN_IMAGE = _LISTS.words("positions")
"""Words for where something is; of themselves they name nothing."""

QUANTITIES = _LISTS.words("quantities")
"""Before "of", these count or cut up what follows: "a slice of pizza", "a herd of cows"."""

TIMES = _LISTS.words("times")
"""Words for when; before a noun they describe it, and are seen nowhere."""

ABSTRACT = _LISTS.words("abstract")
"""Activities, events, qualities, ideas, measures."""

ING_THINGS = _LISTS.words("things_in_ing")
"""Nouns in -ing that are things."""

THINGS = _LISTS.words("things")
"""Words that end like abstract nouns and are things."""

PARTITIVES = QUANTITIES | IMAGE_WORDS | PLACE_IN_IMAGE
"""Before "of", these only count, cut up, picture or place what follows: "the front of a house"."""

_UNSEEN = IMAGE_WORDS | PLACE_IN_IMAGE | TIMES | ABSTRACT
_ABSTRACT_ENDINGS = (
    "ness", "ity", "ism", "tion", "sion", "ment", "ance", "ence", "hood", "ology", "onomy", "ography", "ics", "acy", "itude",
    "ency", "ancy", "dom", "onship", "dship", "ership", "anship", "orship", "enship", "arship",
)  # fmt: skip


@lru_cache(maxsize=_CACHE)
def is_known(name: str) -> bool:
    """Whether the lexicon lists the name as an object, a part or a scene of one."""
    words = lexicon()
    return words.exact(name) is not None or bool(words.in_scene(fold(name)))


@lru_cache(maxsize=_CACHE)
def is_visible_word(word: str) -> bool:
    """Whether one noun, in either number, names a thing that can be seen; an unknown word does unless its ending says no."""
    one = singular(word)
    if one in _UNSEEN or word in _UNSEEN:
        return False
    if one in ING_THINGS or one in THINGS or word in THINGS or is_known(word):
        return True
    return not (one.endswith(_ABSTRACT_ENDINGS) or (one.endswith("ing") and len(one) > 4))


@lru_cache(maxsize=_CACHE)
def names_thing(word: str) -> bool:
    """Whether one noun, in either number, is known to name a thing that can be seen; an unknown word is not."""
    one = singular(word)
    if one in _UNSEEN or word in _UNSEEN:
        return False
    if (
        one in ING_THINGS
        or one in THINGS
        or word in THINGS
        or is_known(word)
        or one in physical_nouns()
        or word in physical_nouns()
    ):
        return True
    if "-" in word:
        return names_thing(word.rpartition("-")[2])
    # Written as one word: "ballfield" is a field.
    return any(one[at:] in physical_nouns() or is_known(one[at:]) for at in range(3, len(one) - 3) if is_english(one[:at]))


def is_thing_in_ing(word: str) -> bool:
    """Whether a noun in -ing is a thing ("building") and no doing ("skating")."""
    one = singular(word)
    return one in ING_THINGS or is_known(one)


def names_visible_thing(name: str) -> bool:
    """Whether a name of one or several words is known to name a visible thing: all of it, or its head noun."""
    head = name.lower().split(" of ")[0].rpartition(" ")[2]
    return (" " in name and is_known(name)) or names_thing(head)


def is_english(word: str) -> bool:
    """Whether general English has a word in lower case."""
    return word in general_lexicon()


def is_visible(name: str) -> bool:
    """Whether a name of one or several words names a visible thing: the lexicon lists all of it, or its head noun does."""
    head = name.lower().split(" of ")[0].rpartition(" ")[2]
    if " " in name and is_known(name):
        return True
    return is_visible_word(head)
