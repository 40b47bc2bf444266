"""Proposes objects that would fit a caption's scene and are not in it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import Any

from shardmill.language.implied import is_implied
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.nouns import fold
from shardmill.language.relations import mentions, relation

# What a caption calls a place, beyond the names of the scenes themselves.
_SCENE_WORDS = {
    "lounge": "living room", "sitting room": "living room", "hotel room": "bedroom", "nursery": "bedroom", "dorm": "bedroom",
    "restroom": "bathroom", "washroom": "bathroom", "dining room": "dining", "breakfast": "dining", "dinner": "dining",
    "lunch": "dining", "supper": "dining", "conference room": "office", "meeting room": "office", "workplace": "office",
    "school": "classroom", "lecture": "classroom", "library": "classroom", "sidewalk": "street", "city": "street",
    "downtown": "street", "crosswalk": "street", "town": "street", "highway": "road", "freeway": "road", "traffic": "road",
    "backyard": "garden", "lawn": "garden", "yard": "garden", "woods": "forest", "jungle": "forest", "hill": "mountain",
    "mountains": "mountain", "hiking": "mountain", "coast": "beach", "shore": "beach", "surf": "beach", "ocean": "sea",
    "sailing": "sea", "lake": "river", "pond": "river", "stream": "river", "pasture": "farm", "meadow": "farm", "barn": "farm",
    "savanna": "zoo", "safari": "zoo", "enclosure": "zoo", "stadium": "sports field", "court": "sports field",
    "match": "sports field", "soccer": "sports field", "baseball": "sports field", "tennis": "sports field", "fitness": "gym",
    "workout": "gym", "ski slope": "snow", "snowy": "snow", "skiing": "snow", "winter": "snow", "runway": "airport",
    "terminal": "airport", "railway": "station", "platform": "station", "subway": "station", "pier": "harbor", "dock": "harbor",
    "harbour": "harbor", "marina": "harbor", "port": "harbor", "store": "shop", "mall": "shop", "supermarket": "shop",
    "bazaar": "market", "cafe": "restaurant", "bar": "restaurant", "diner": "restaurant", "pub": "restaurant",
    "birthday": "party", "wedding": "party", "celebration": "party", "christmas": "party", "concert": "stage",
    "performance": "stage", "theater": "stage", "garage": "workshop", "factory": "workshop", "construction site": "workshop",
    "clinic": "hospital", "surgery": "hospital", "ward": "hospital", "flying": "sky", "reef": "underwater",
    "campsite": "camping", "campground": "camping", "playground": "playground",
}  # fmt: skip
_EVERYDAY = ("street", "park", "living room", "kitchen", "garden", "office")
_NAMED_SCENE = 2.0
# A scene counts if it scores at least this share of the best one.
_LIKELY = 0.6
# What nearly every image of a scene shows, or what no one would name as missing.
_UNFIT_CATEGORIES = frozenset({"body", "part"})
_UNFIT_SHAPES = frozenset({"ground", "water", "building"})
_UNFIT_NAMES = frozenset({
    "animal", "aircraft", "athlete", "building", "clothing", "cloud", "container", "crowd", "drink", "fire", "fog",
    "food", "forest", "fruit", "furniture", "insect", "jewelry", "lightning", "meat", "mountain", "musical instrument",
    "musician", "person", "plant", "power line", "rain", "sky", "smoke", "star", "stage", "sun", "sunset", "tool",
    "toy", "tree", "vegetable", "vehicle", "worker", "teenager", "sign", "couple", "spectator", "parent", "boy", "girl",
    "man", "woman", "child", "light", "seafood", "nut",
})  # fmt: skip
# Roles fit everywhere; without this weight they would fill the lists.
_ROLE_WEIGHT = 0.35
_REPEATED_CATEGORY = 0.4


def propose_negatives(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """`{"caption", "objects", "count"}` -> `{"objects"}`: absent objects that suit the scene, unrelated to each other.

    None is named in the caption, or is a synonym, a kind or a part of an object of the caption or of another one proposed.
    """
    caption, present = str(values["caption"]), [str(name) for name in values["objects"]]
    count = int(values["count"])
    chosen: list[LexiconEntry] = []
    for pool in _pools(_scenes(caption, present)):
        _draw(pool, caption, present, count, chosen, rng)
        if len(chosen) == count:
            break
    return {"objects": [entry.name for entry in chosen]}


def _draw(
    pool: Sequence[tuple[LexiconEntry, float]],
    caption: str,
    present: Sequence[str],
    count: int,
    chosen: list[LexiconEntry],
    rng: random.Random,
) -> None:
    """Adds weighted draws from the pool to `chosen`, without replacement, until there are `count`."""
    fits = _Fitness(caption, present)
    entries, weights = [entry for entry, _ in pool], [weight for _, weight in pool]
    while len(chosen) < count and entries:
        totals = list(accumulate(weights))
        at = rng.choices(range(len(entries)), cum_weights=totals)[0]
        entry = entries.pop(at)
        weights.pop(at)
        if not fits(entry, chosen):
            continue
        chosen.append(entry)
        weights = [
            weight * _REPEATED_CATEGORY if other.category == entry.category else weight
            for other, weight in zip(entries, weights, strict=True)
        ]


class _Fitness:
    """Whether an entry can be an absent object of a caption."""

    def __init__(self, caption: str, present: Sequence[str]) -> None:
        words = lexicon()
        self._caption = caption
        self._present = present
        self._words = {fold(word) for name in [caption, *present] for word in re.findall(r"[a-z]+", name.lower())}
        entries = [entry for name in [*present, *_nouns(caption)] if (entry := words.find(name))]
        # A man may be a chef: people in the image say nothing about which people are not.
        self._has_person = any("person" in (entry.name, *words.kinds(entry)) for entry in entries)

    def __call__(self, entry: LexiconEntry, chosen: Sequence[LexiconEntry]) -> bool:
        if self._has_person and entry.category == "person":
            return False
        # Sharing a word with the caption makes a poor negative: "no flower pot" beside a pot.
        if any(fold(word) in self._words for word in entry.name.split()):
            return False
        if mentions(self._caption, entry.name):
            return False
        if any(is_implied(entry.name, fold(name)) for name in self._present):
            return False
        others = [*self._present, *(other.name for other in chosen)]
        return all(relation(entry.name, other) is None for other in others)


def _scenes(caption: str, present: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The likely scenes, best first, with scores: votes of the objects, and of places that the caption names."""
    words = lexicon()
    votes: dict[str, float] = {}
    for name in present or _nouns(caption):
        entry = words.find(name)
        for scene in entry.scenes if entry else ():
            votes[scene] = votes.get(scene, 0.0) + 1.0 / len(entry.scenes if entry else ())
    pattern, scene_of = _scene_pattern()
    for match in pattern.finditer(caption.lower()):
        scene = scene_of[match.group()]
        votes[scene] = votes.get(scene, 0.0) + _NAMED_SCENE
    if not votes:
        return tuple((scene, 1.0) for scene in _EVERYDAY)
    best = max(votes.values())
    ranked = sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
    return tuple((scene, round(score / best, 2)) for scene, score in ranked if score >= _LIKELY * best)


def _pools(scenes: tuple[tuple[str, float], ...]) -> Iterator[Sequence[tuple[LexiconEntry, float]]]:
    yield _pool(scenes)
    yield _pool(tuple((scene, 1.0) for scene in _EVERYDAY))


@lru_cache(maxsize=1024)
def _pool(scenes: tuple[tuple[str, float], ...]) -> tuple[tuple[LexiconEntry, float], ...]:
    """Entries seen in the scenes with a weight each: more for the likelier scene, and for what is seen in few places."""
    weights: dict[str, float] = {}
    words = lexicon()
    for scene, score in scenes:
        entries = [entry for entry in words.in_scene(scene) if _is_fit(entry)]
        for entry in entries:
            weights[entry.name] = weights.get(entry.name, 0.0) + score**2 / len(entries) / len(entry.scenes) ** 0.5
    return tuple(
        (words.entries[name], weight * (_ROLE_WEIGHT if words.entries[name].category == "person" else 1.0))
        for name, weight in weights.items()
    )


def _is_fit(entry: LexiconEntry) -> bool:
    return not (entry.category in _UNFIT_CATEGORIES or entry.shape in _UNFIT_SHAPES or entry.name in _UNFIT_NAMES)


def _nouns(caption: str) -> list[str]:
    """Names of the lexicon in the caption, of one or two words."""
    found = re.findall(r"[\w'-]+", caption.lower())
    pairs = [" ".join(pair) for pair in pairwise(found)]
    return [name for name in [*pairs, *found] if lexicon().exact(name)]


@cache
def _scene_pattern() -> tuple[re.Pattern[str], dict[str, str]]:
    scene_of = {scene: scene for scene in lexicon().scenes} | _SCENE_WORDS
    longest_first = sorted(scene_of, key=lambda word: (-len(word), word))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b"), scene_of
