"""A small world of drawn pictures: places, what stands in them, and captions as people would write them.

Some pairs of objects are held out: no training picture shows both, and the test asks about them alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from random import Random

from shardmill.embedded.scene import draw_scene
from shardmill.language.nouns import plural, with_article

PLACES = {
    "kitchen": ("table", "chair", "cup", "plate", "bottle", "apple", "banana", "clock", "window", "cat"),
    "street": ("car", "bus", "bicycle", "dog", "building", "traffic light", "sign", "bench", "woman", "man"),
    "park": ("bench", "tree", "dog", "kite", "ball", "duck", "boy", "girl", "bicycle", "umbrella"),
    "living room": ("sofa", "tv", "lamp", "book", "clock", "cat", "dog", "guitar", "table", "vase"),
    "beach": ("umbrella", "boat", "ball", "seagull", "surfboard", "kite", "dog", "girl", "lighthouse", "starfish"),
    "farm": ("cow", "horse", "sheep", "chicken", "tree", "fence", "tractor", "house", "pig", "dog"),
}
"""What may stand in each place, the most frequent first."""
WHERE = {"living room": "in a living room", "kitchen": "in a kitchen", "park": "in a park", "beach": "at the beach"}
SYNONYMS = {"sofa": "couch", "tv": "television", "bicycle": "bike"}
JOINED = {
    2: ("{0} and {1}", "{0} next to {1}", "{0} beside {1}", "{0} with {1}"),
    3: ("{0}, {1} and {2}", "{0} and {1} near {2}", "{0} next to {1} and {2}"),
}
PICTURE_SIZE = (320, 240)
HELD_OUT_SHARE = 0.2
DENYING_SHARE = 0.02
"""Captions that say of an object that it is not there; people write fewer (26 of 4,653 captions of COCO have such a word)."""
PLACE_SHARE = 0.2
"""Captions that name the place, which the detector of drawings does not find: sentences cannot be built around these."""


@dataclass(frozen=True)
class Picture:
    """A picture's file name, its place, all objects in it with their numbers, and its caption, which names some of them."""

    file: str
    place: str
    objects: dict[str, int]
    caption: str


def held_out_pairs(seed: int = 0) -> list[tuple[str, str]]:
    """A fifth of the pairs that share a place, each in alphabetical order."""
    pairs = sorted({tuple(sorted(pair)) for objects in PLACES.values() for pair in combinations(objects, 2)})
    return sorted((one, other) for one, other in Random(f"held out {seed}").sample(pairs, round(HELD_OUT_SHARE * len(pairs))))


def make_pictures(folder: Path, count: int, *, held_out: bool, seed: int = 0) -> list[Picture]:
    """Draw pictures of two to five objects into `folder/images`, and `folder/captions.csv`, which the pipeline reads.

    Args:
        folder: It is made if need be.
        count: How many pictures.
        held_out: True: each shows at least one held-out pair. False: none does.
        seed: Of all draws.
    """
    rng = Random(f"pictures {held_out} {seed}")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures: list[Picture] = []
    for place, objects in _scenes(rng, held_out):
        file = f"images/{len(pictures):05}.png"
        scene = draw_scene(list(objects.items()), seed=rng.randrange(1 << 30), size=PICTURE_SIZE, scene=place, labels=False)
        scene.save(folder / file)
        pictures.append(Picture(file, place, objects, write_caption(rng, place, objects)))
        if len(pictures) == count:
            break
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["image", "caption"])
        writer.writerows([picture.file, picture.caption] for picture in pictures)
    return pictures


def _scenes(rng: Random, held_out: bool) -> Iterator[tuple[str, dict[str, int]]]:
    """Endless places with objects and their numbers."""
    reserved = set(held_out_pairs())
    while True:
        place = rng.choice(list(PLACES))
        names = PLACES[place]
        drawn: dict[str, int] = {}
        size = rng.choice((2, 3, 3, 4, 4, 5))
        while len(drawn) < size:
            name = rng.choices(names, [1 / (rank + 3) for rank in range(len(names))])[0]
            drawn.setdefault(name, rng.choice((1, 1, 1, 2)))
        if any(pair in reserved for pair in combinations(sorted(drawn), 2)) == held_out:
            yield place, drawn


def write_caption(rng: Random, place: str, objects: dict[str, int]) -> str:
    """A sentence about two or three of the objects, with synonyms now and then, and rarely one that says what is missing."""
    named = [_phrase(rng, name, count) for name, count in objects.items()][:3]
    if len(named) == 3 and rng.random() < 0.4:
        named.pop()
    things = rng.choice(JOINED[len(named)]).format(*named)
    if rng.random() < DENYING_SHARE:
        things += f" but no {absent_object(rng, place, objects)}"
    if rng.random() < PLACE_SHARE:
        things = rng.choice(("{0} {1}", "{1}, {0}")).format(things, WHERE.get(place, f"on a {place}"))
    text = rng.choice(("{0}.", "{0}.", "a view of {0}.")).format(things)
    return text[0].upper() + text[1:]


def absent_object(rng: Random, place: str, objects: dict[str, int]) -> str:
    """One that could be there and is not."""
    return rng.choice([name for name in PLACES[place] if name not in objects])


def _phrase(rng: Random, name: str, count: int) -> str:
    name = SYNONYMS[name] if name in SYNONYMS and rng.random() < 0.3 else name
    return with_article(name) if count == 1 else f"two {plural(name)}"
