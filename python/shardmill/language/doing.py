"""Actions of a caption that can be told without all else: "a dog sits on a mat", but not "a man feeds a dog"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardmill.language.actions import verb_stem
from shardmill.language.word_classes import DETERMINER, NOUN, NUMBER, POSSESSIVE, PREPOSITION, PRONOUN
from shardmill.language.word_lists import word_lists
from shardmill.language.word_spans import WordSpan, word_spans

_LISTS = word_lists("shardmill.language", "actions.yaml")

_PARTICLES = _LISTS.words("particles")
_PLACING = _LISTS.words("placing")
_OBJECTS = (DETERMINER, NOUN, NUMBER, POSSESSIVE, PRONOUN)
_STEMS = {group: frozenset(map(verb_stem, _LISTS.words(group))) for group in ("resting", "moving")}


@dataclass(frozen=True)
class LoneVerb:
    """A verb without an object: where it and its particle start and end, and whether it is "resting" or "moving"."""

    start: int
    end: int
    group: str


def lone_verb(caption: str, verb: str) -> LoneVerb | None:
    """Where a caption has a verb that takes no object and no preposition of its own; None where it has none."""
    words = word_spans(caption) or ()
    at = next((place for place, word in enumerate(words) if word.text == verb.lower() and word.kind != NOUN), None)
    group = next((name for name, stems in _STEMS.items() if verb_stem(verb) in stems), None)
    end = _end_of_verb(words, at) if at is not None and group else None
    return LoneVerb(words[at].start, end, group) if at is not None and end is not None and group else None


def _end_of_verb(words: Sequence[WordSpan], at: int) -> int | None:
    """Where the verb and its particle end; None if it takes an object or a preposition of its own ("waiting for")."""
    end = at
    following = words[at + 1] if at + 1 < len(words) else None
    if following is not None and following.text in _PARTICLES:
        then = words[at + 2] if at + 2 < len(words) else None
        if then is None or then.kind not in _OBJECTS:
            end, following = at + 1, then
    if following is None:
        return words[end].end
    if following.kind in _OBJECTS or (following.kind == PREPOSITION and following.text not in _PLACING):
        return None
    return words[end].end
