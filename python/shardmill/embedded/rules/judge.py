"""Which of the names given are well-formed names of visible things."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.visibility import is_known, is_visible
from shardmill.language.word_classes import is_plain_adjective
from shardmill.language.word_lists import word_set

MAX_WORDS = 4

# Latin letters, and digits beside them ("18-wheeler"), joined by hyphens and apostrophes.
_WORD = re.compile(r"[a-z0-9\u00c0-\u024f]+(?:['’-]{1,2}[a-z0-9\u00c0-\u024f]+)*['’]?")
_LETTERS = re.compile(r"[a-z\u00c0-\u024f]{2}")
_SENTENCE_WORDS = word_set(
    """
    is are was were be been am has have had do does did can will would could should may might must not no none without i you
    he she it they we there that which who whom whose because if here sorry caption output answer wearing holding looking
    showing sitting standing
    """
)
_NEVER_FIRST = word_set("of and or with in on at for from to by as very more most")
_NEVER_LAST = _NEVER_FIRST | word_set("a an the his her their its my your our this these those")


def judge_objects(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "objects"} -> {"objects": those that pass, unchanged and in order}. Nothing in it is random."""
    return {"objects": [name for name in values["objects"] if is_object_name(str(name))]}


def is_object_name(name: str) -> bool:
    """Whether a text is a well-formed name of a visible thing: up to four words, no piece of a sentence, nothing abstract."""
    words = name.lower().split(" ")
    if not 1 <= len(words) <= MAX_WORDS or not all(map(_WORD.fullmatch, words)):
        return False
    if words[0] in _NEVER_FIRST or words[-1] in _NEVER_LAST:
        return False
    foreign = _SENTENCE_WORDS.intersection(words)
    if foreign and not (foreign <= {*fold(name).split()} and lexicon().exact(name)):  # a trash can is a thing all the same
        return False
    folded = fold(name)
    if is_plain_adjective(folded) and not is_known(folded):
        return False
    return bool(_LETTERS.search(words[-1])) and is_visible(folded)
