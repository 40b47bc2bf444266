"""`scene`: simple images of the everyday objects that a prompt names, with mistakes at a stated rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from shardmill.language.lexicon import lexicon_digest
from shardmill.models.contract import GeneratedImage, GenerateRequest, Model, Reply
from shardmill.models.generate.prompt_weights import plain
from shardmill.models.generate.store import code_digest, image_digest, image_file, save_image, saved_size

MAX_OBJECTS = 12
MAX_OF_A_KIND = 6
DRAWN_BY = tuple(f"shardmill.embedded.scene.{module}" for module in ("generator", "drawing", "palette", "shapes"))
"""The modules whose code decides what an image looks like."""


class SceneGenerator(Model):
    """Draws what a prompt names and the lexicon knows, as often as it says ("three otters").

    `leave_out_rate` is the share of its objects that are forgotten, `add_rate` that of the negative prompt's objects that are
    drawn all the same: a real model does both.
    """

    def __init__(self, leave_out_rate: float = 0.0, add_rate: float = 0.0):
        self._rates = float(leave_out_rate), float(add_rate)

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """The error rates, and the digest of the lexicon of what it can draw."""
        leave_out, add = cls(**settings)._rates  # noqa: SLF001
        return {"error rates": f"leave out {leave_out}, add {add}", "lexicon": lexicon_digest()}

    def stream(self, requests: Iterable[GenerateRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        from shardmill.embedded.scene.drawing import draw_scene

        drawn_by = {**self.identity(leave_out_rate=self._rates[0], add_rate=self._rates[1]), "code": code_digest(*DRAWN_BY)}
        for request in requests:
            rng = Random(request.seed)
            objects = self._objects(request, rng)
            if not objects:
                yield Reply(
                    request.key, None, "unusable", "nothing to draw", f"no object that scene knows: {request.prompt[:80]}"
                )
                continue
            drawn_from = {**drawn_by, "prompt": request.prompt, "negative": request.negative, "seed": request.seed}
            name = image_file(image_digest(drawn_from), "png")
            path = Path(request.folder) / name
            size = saved_size(path)
            if size is None:
                image = draw_scene(objects, seed=rng.randrange(2**31))
                save_image(image, path)
                size = image.size
            yield Reply(request.key, GeneratedImage(name, *size))

    def _objects(self, request: GenerateRequest, rng: Random) -> list[tuple[str, int]]:
        """The things to draw and how many of each, no more than MAX_OBJECTS in all."""
        leave_out, add = self._rates
        wanted = {name: count for name, count in _known(request.prompt).items() if rng.random() >= leave_out}
        mistaken = [name for name in _known(request.negative) if rng.random() < add]
        chosen: dict[str, int] = {}
        for name, count in {**wanted, **{name: 1 for name in mistaken if name not in wanted}}.items():
            room = MAX_OBJECTS - sum(chosen.values())
            if room > 0:
                chosen[name] = min(count, room)
        return list(chosen.items())


def _known(prompt: str) -> dict[str, int]:
    """The objects of a prompt that the lexicon knows, and how many of each it speaks of."""
    from shardmill.language.lexicon import lexicon
    from shardmill.language.noun_phrases import extract_objects

    known: dict[str, int] = {}
    for piece in plain(prompt).split(","):
        for name in extract_objects(piece):
            entry = lexicon().find(name)
            if entry is not None:
                known[entry.name] = max(known.get(entry.name, 1), _count_of(name, piece))
    return known


def _count_of(name: str, text: str) -> int:
    """How many of a thing a text speaks of: the number right before its name, or 1."""
    from shardmill.language.numbers import numbers_in
    from shardmill.language.relations import mentions

    for number in numbers_in(text):
        for start, _ in mentions(text, name):
            if number.end <= start and len(text[number.end : start].split()) <= 1 and number.value >= 2:
                return min(number.value, MAX_OF_A_KIND)
    return 1
