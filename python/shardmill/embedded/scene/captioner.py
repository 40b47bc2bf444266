"""`scene`: plain captions of scene images; of any other image, its shape, brightness and colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

from shardmill.language.lexicon import lexicon_digest
from shardmill.language.named_objects import named_objects
from shardmill.language.nouns import is_mass, is_plural, with_article
from shardmill.models.contract import CaptionRequest, Model, Reply
from shardmill.models.images import UnreadableImage, open_image

COLORS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "red": (200, 40, 40), "green": (50, 140, 60),
    "blue": (50, 90, 190), "yellow": (230, 210, 60), "orange": (230, 140, 40), "brown": (120, 80, 45), "pink": (235, 160, 185),
    "purple": (120, 60, 150), "beige": (225, 210, 180),
}  # fmt: skip
MAX_OBJECTS = 6
DENIED = re.compile(r"[Tt]here (?:is|are) no ([^.?!\n]{1,60}?) in (?:this|the) image")
SHOWN = re.compile(r"This image shows: ([^.]{1,400})\. It does not show: ([^.]{1,400})\.")
QUESTION = re.compile(r"[^.!?\n]*\?\s*$")
THERE = re.compile(r"\s*(?:Is|Are) there\b")


class SceneCaptioner(Model):
    """Captions images without a model; short when it is asked for few tokens."""

    def __init__(self) -> None:
        self._last: tuple[str, list[str], Look] = ("", [], Look("", "", ""))

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """The digest of the lexicon of what it can see."""
        return {"lexicon": lexicon_digest()}

    def stream(self, requests: Iterable[CaptionRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        for request in requests:
            try:
                objects, look = self._look(request.image)
            except UnreadableImage as error:
                yield Reply(request.key, None, "unusable", "unreadable image", str(error))
            else:
                yield Reply(request.key, _reply(request.prompt, objects, look))

    def _look(self, path: str) -> tuple[list[str], Look]:
        if self._last[0] != path:
            image = open_image(path)
            self._last = path, _objects(image), look_of(image)
        return self._last[1], self._last[2]


def _objects(image: Image.Image) -> list[str]:
    """The objects of a scene image, the largest first; none for other images."""
    from shardmill.embedded.scene.palette import codes
    from shardmill.embedded.scene.reader import MIN_AREA, NotAScene, flat_codes, require_scene

    pixels = np.asarray(image)
    try:
        require_scene(pixels)
    except NotAScene:
        return []
    areas = flat_codes(pixels)
    counts = np.bincount(areas[areas >= 0], minlength=1)
    names = {code: name for name, code in codes().items()}
    seen = [int(code) for code in np.argsort(-counts, kind="stable") if counts[code] >= MIN_AREA and int(code) in names]
    return [names[code] for code in seen[:MAX_OBJECTS]]


@dataclass(frozen=True)
class Look:
    """What any image looks like, in words: as a whole, in style, behind what it shows."""

    whole: str
    style: str
    backdrop: str


def look_of(image: Image.Image) -> Look:
    """Shape, brightness and main colours, and the colours at the edges."""
    width, height = image.size
    shape = "square" if 0.9 < width / height < 1.1 else "wide" if width > height else "tall"
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=np.int32)
    first, second = _common(small)[:2]
    brightness = "bright" if small.mean() > 160 else "dark" if small.mean() < 80 else "evenly lit"
    contrast = "lively" if small.std() > 60 else "calm"
    above, below = _common(small[:4])[0], _common(small[-4:])[0]
    return Look(
        f"a {brightness}, {shape} picture in {first} and {second}",
        f"{contrast} and {brightness}, with {first} and {second} tones",
        f"plain {above} all over" if above == below else f"{above} above and {below} below",
    )


def _common(pixels: np.ndarray) -> list[str]:
    """The names of colours, the commonest of the pixels first."""
    nearest = np.square(pixels.reshape(-1, 1, 3) - np.array(list(COLORS.values()))).sum(-1).argmin(1)
    counts = np.bincount(nearest, minlength=len(COLORS))
    return [list(COLORS)[index] for index in np.argsort(-counts, kind="stable")]


def _reply(prompt: str, objects: list[str], look: Look) -> str:
    """The answer to a question about a thing, or to a request for a caption.

    It believes what the prompt says and what a question presupposes, as models do.
    """
    shown = SHOWN.search(prompt)
    if shown is not None:
        return _told(shown[1].split(", "), look, crc32(prompt.encode()) & 1)
    told = DENIED.search(prompt)
    question = QUESTION.search(prompt)
    if question is None:
        return _answer(prompt.lower(), objects, look)
    if told is not None:
        return (
            f"No, there is no {told[1]} in this image."
            if THERE.match(question[0])
            else f"I cannot say: there is no {told[1]} here."
        )
    named = [entry.name for entry in named_objects(question[0])]
    if THERE.match(question[0]):
        # Of what is not there it sees half, as models do that say yes too readily
        is_seen = any(name in objects for name in named) or crc32(f"{question[0]} {objects}".encode()) & 1
        return "Yes, it is there." if is_seen else "No, I do not see it."
    return f"The {named[0] if named else 'thing'} is part of {look.whole}."


def _told(objects: list[str], look: Look, is_brief: int) -> str:
    """A description that believes a list of what is there; brief or not, so that its length says nothing."""
    things = [_some(name) for name in objects]
    listed = ", ".join(things[:-1]) + (" and " if len(things) > 1 else "") + things[-1]
    opening = listed[:1].upper() + listed[1:]
    return f"{opening}." if is_brief else f"{opening} can be seen here. In all this is {look.whole}."


def _some(name: str) -> str:
    return name if is_plural(name) or is_mass(name) else with_article(name)


def _answer(prompt: str, objects: list[str], look: Look) -> str:
    things = ", ".join(objects[:-1]) + (" and " if len(objects) > 1 else "") + objects[-1] if objects else ""
    if "style" in prompt:
        return f"{look.style.capitalize()}."
    if "background" in prompt and "main object" not in prompt:
        return f"The background is {look.backdrop}."
    if objects and "main object" in prompt:
        return f"The main object is {_some(objects[0])}."
    if not objects:
        return f"{look.whole.capitalize()}."
    if "nouns" in prompt:
        return ", ".join(objects)
    if "words" in prompt:
        return f"A picture with {things}."
    if "one short sentence" in prompt:
        return f"{things.capitalize()} {'are' if len(objects) > 1 or is_plural(objects[0]) else 'is'} all there is to see."
    return f"The picture shows {things}. It is {look.whole}."
