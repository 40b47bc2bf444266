"""Tasks `edit_background_change` and `edit_tune_transfer`: another place, weather, hour or season. Where no caption would be
English, the output is the caption, which no check lets pass.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.phrases import patterns
from shardmill.embedded.rules.wording import ended, sentence
from shardmill.language.appearance import ASPECTS, has_word, words_of
from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.placement import PlacePhrase, place_phrases
from shardmill.language.relations import mentions
from shardmill.language.rewriting import core
from shardmill.language.word_classes import GERUND, NOUN, VERB
from shardmill.language.word_spans import word_spans

_PETS = frozenset({"cat", "dog", "rabbit", "hamster"})

Values = Mapping[str, Any]
Answer = dict[str, Any]


def background_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "verb"} -> the same things at another place, at which such things are seen."""
    caption = str(values["caption"])
    needs = _needs(caption)
    known = [place for place in patterns("edits")["places"] if needs <= set(place["for"])]
    free = [place for place in known if not _names(caption, place["place"])] or known
    place = rng.choice(free or patterns("edits")["places"])
    output, old = elsewhere(caption, place["at"], place["place"])
    edit = sentence(patterns("edits")["background_change"][values["verb"]], rng, values, caption, place=place["place"])
    if output is None or not free:
        output = caption
    return {"edit": edit, "new_background": place["place"], "original_background": old, "output": ended(output, caption)}


def tune_transfer(values: Values, rng: random.Random) -> Answer:
    """{"caption", "aspect", "verb"} -> the caption in another weather, at another time of day or in another season."""
    caption, aspect = str(values["caption"]), str(values["aspect"])
    states = patterns("edits")["states"][aspect]
    state, phrase = rng.choice([pair for pair in states if not has_word(caption, words_of(pair[0]))] or states)
    edit = sentence(patterns("edits")["tune_transfer"][aspect][values["verb"]], rng, values, caption, state=state)
    return {"edit": edit, "new_state": state, "output": ended(f"{core(caption)} {phrase}", caption)}


def elsewhere(caption: str, preposition: str, place: str) -> tuple[str | None, str | None]:
    """(the caption at another place, the place that it named before); (None, None) where that would not be English."""
    when = frozenset().union(*ASPECTS.values())
    phrases = [each for each in place_phrases(caption) if each.is_background and not has_word(each.noun, when)]
    spans = [_whole(caption, each) for each in phrases]
    named = [mentions(caption, name) for name in extract_objects(caption) if is_background(name)]
    if any(not any(start <= at < end for start, end in spans) for found in named for at, _ in found):
        return None, None
    if not phrases:
        may_be_place = any(each.supports and lexicon().find(each.noun) is None for each in place_phrases(caption))
        is_open = may_be_place or "," in caption.rstrip(" .")
        return (None, None) if is_open else (f"{core(caption)} {preposition} {place}", None)
    if not all(_stands_alone(caption, end) for _, end in spans):
        return None, None
    output = caption
    for start, end in reversed(spans[1:]):
        output = output[:start] + output[end:]
    (start, end), first = spans[0], phrases[0]
    output = f"{output[:start]}{preposition} {place}{output[end:]}"
    return " ".join(output.split()), caption[first.noun_start : first.end]


def _whole(caption: str, phrase: PlacePhrase) -> tuple[int, int]:
    """Where a phrase starts and ends with what it is "of": "in a field of grass"."""
    words = word_spans(caption) or ()
    end, at = phrase.end, phrase.after
    if at < len(words) and words[at].text == "of":
        noun = next((word for word in words[at + 1 : at + 5] if word.kind == NOUN), None)
        end = noun.end if noun is not None else end
    return phrase.start, end


def _stands_alone(caption: str, end: int) -> bool:
    """Whether nothing tells more of the place: "a field with flowers" is no place that can be exchanged."""
    after = next((word for word in word_spans(caption) or () if word.start >= end), None)
    if after is None or after.kind in (GERUND, VERB) or after.text in (".", ",", "and", "while", "as", "holding"):
        return True
    return any(each.start == after.start and each.is_background for each in place_phrases(caption))


def _needs(caption: str) -> set[str]:
    """Which things a place must be for: people, animals, vehicles, or things of a room."""
    groups = {
        "person": "people", "animal": "animals", "vehicle": "vehicles", "furniture": "things", "food": "food", "drink": "food",
        "kitchenware": "food",
    }  # fmt: skip
    found = [entry for name in extract_objects(caption) if (entry := lexicon().find(name)) and not is_background(name)]
    needs = {
        "pets" if not _PETS.isdisjoint({entry.name, *lexicon().kinds(entry)}) else groups.get(entry.category) for entry in found
    }
    return {need for need in needs if need is not None} or {"things"}


def _names(caption: str, place: str) -> bool:
    return any(mentions(caption, word) or has_word(caption, (word,)) for word in place.split()[1:])
