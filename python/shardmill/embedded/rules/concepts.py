"""Whether a name is a visible concept, and in which places such a thing is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from shardmill.embedded.rules.judge import is_object_name
from shardmill.embedded.rules.phrases import patterns
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.locatives import locative, place_key
from shardmill.language.nouns import fold
from shardmill.language.proper_names import is_common, proper_problem
from shardmill.language.visibility import is_known, is_visible
from shardmill.language.word_classes import is_plain_adjective

EVERYDAY = ("street", "park", "living room", "kitchen", "garden", "office")
_ON_A_TABLE = frozenset({
    "food", "drink", "kitchenware", "tool", "office", "accessory", "toy", "medical", "party", "bathroom", "electronics",
})  # fmt: skip
_TOO_LARGE = frozenset({
    "building", "tower", "house", "car", "truck", "bus", "plane", "boat", "train", "bridge", "bed", "sofa", "chair", "table",
    "person", "tree", "fence", "ground", "water", "mountain", "shirt", "cloud", "star",
})  # fmt: skip
_TOO_LARGE_ITSELF = frozenset({
    "ferris wheel", "roller coaster", "merry-go-round", "seesaw", "slide", "swing", "sandbox", "climbing frame", "trampoline",
    "bumper car", "bouncy castle", "wheelbarrow", "generator", "ladder", "compost bin", "bird bath", "garden gnome", "mannequin",
    "luggage cart", "shopping cart", "jet bridge", "baggage carousel", "stretcher", "turnstile", "windsock", "cannon", "rake",
    "shovel", "hoe", "pitchfork", "christmas tree", "dance floor", "photo booth", "firework", "market stall", "easel", "podium",
    "whiteboard", "blackboard", "bulletin board", "water cooler", "conference table", "bathtub", "shower", "urinal", "santa",
    "skeleton", "security camera", "solar panel", "satellite dish", "projector screen",
})  # fmt: skip


def judge_concept(values: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """{"concept"} -> {"reason", "verdict"}. Nothing in it is random."""
    reason = _fault(str(values["concept"]))
    return {"reason": reason, "verdict": "yes" if reason == "none" else "no"}


def propose_backgrounds(values: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """{"concept", "known", "count"} -> {"backgrounds"}: so many places that suit the concept, none of them known yet."""
    concept, taken = str(values["concept"]), {place_key(locative(str(place))) for place in values["known"]}
    found = [phrase for phrase in places_of(concept) if place_key(phrase) not in taken]
    count = min(int(values["count"]), len(found))
    return {"backgrounds": rng.sample(found, count)}


def places_of(concept: str) -> list[str]:
    """All phrases for a concept, those of its scenes: of the everyday ones where the lexicon does not know it."""
    entry = lexicon().find(concept)
    scenes = entry.scenes if entry and entry.scenes else EVERYDAY
    phrases: list[str] = []
    for scene in scenes:
        lists = patterns("backgrounds")[scene]
        phrases += [*lists["any"], *(lists.get("small", ()) if entry and is_small(entry) else ())]
    return _distinct(phrases, concept)


def is_small(entry: LexiconEntry) -> bool:
    """Whether the thing can stand on a table."""
    return entry.category in _ON_A_TABLE and entry.shape not in _TOO_LARGE and entry.name not in _TOO_LARGE_ITSELF


def _distinct(phrases: Sequence[str], concept: str) -> list[str]:
    """Each place once, and none that is the concept itself: no tent in front of a tent."""
    own = fold(concept).split()[-1]
    seen = {place_key(phrase): phrase for phrase in reversed(phrases) if own not in map(fold, phrase.split())}
    return list(reversed(seen.values()))


def _fault(concept: str) -> str:
    if proper_problem(concept) is not None:
        return "proper noun"
    if is_known(concept):
        return "none"
    words = concept.split()
    if not is_common(words[-1]):
        return "not understood"
    if is_plain_adjective(fold(concept)):
        return "unclear"
    if not is_visible(fold(concept)):
        return "not visible"
    return "none" if is_object_name(concept) else "unclear"
