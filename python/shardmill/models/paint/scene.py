"""`scene`: simple pictures of the everyday objects that a prompt names, with mistakes at a stated rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

from shardmill.models.contract import Painted, PaintRequest, Reply
from shardmill.models.paint.prompt_weights import plain
from shardmill.models.paint.store import address, file_name, save, size_of

VERSION = 1
MOST_OBJECTS = 12


class ScenePainter:
    """Paints what a prompt names and the lexicon knows. `leave_out_rate` is the share of its objects that are forgotten,
    `add_rate` that of the negative prompt's objects that are painted all the same: a real painter does both.
    """

    def __init__(self, leave_out_rate: float = 0.0, add_rate: float = 0.0):
        self._rates = float(leave_out_rate), float(add_rate)
        self._identity = self.identity(*self._rates)

    @classmethod
    def identity(cls, leave_out_rate: float = 0.0, add_rate: float = 0.0) -> dict[str, str]:
        """Version, error rates and the lexicon of what it can paint."""
        lexicon = (Path(__file__).parents[2] / "language" / "lexicon.csv").read_bytes()
        rates = f"leave out {float(leave_out_rate)}, add {float(add_rate)}"
        return {"version": str(VERSION), "error rates": rates, "lexicon": sha256(lexicon).hexdigest()}

    def stream(self, requests: Iterable[PaintRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        from shardmill.models.scene import paint

        for request in requests:
            rng = Random(request.seed)
            objects = self._objects(request, rng)
            if not objects:
                yield Reply(
                    request.key, None, "unusable", "nothing to paint", f"no object that scene knows: {request.prompt[:80]}"
                )
                continue
            painted_from = {**self._identity, "prompt": request.prompt, "negative": request.negative, "seed": request.seed}
            name = file_name(address(painted_from), "png")
            path = Path(request.folder) / name
            size = size_of(path)
            if size is None:
                picture = paint(objects, seed=rng.randrange(2**31))
                save(picture, path)
                size = picture.size
            yield Reply(request.key, Painted(name, *size))

    def _objects(self, request: PaintRequest, rng: Random) -> list[str]:
        leave_out, add = self._rates
        wanted = [name for name in _known(request.prompt) if rng.random() >= leave_out]
        mistaken = [name for name in _known(request.negative) if rng.random() < add]
        return [*wanted, *(name for name in mistaken if name not in wanted)][:MOST_OBJECTS]


def _known(prompt: str) -> list[str]:
    """The objects of a prompt that the lexicon knows, each once."""
    from shardmill.language.lexicon import lexicon
    from shardmill.language.noun_phrases import extract_objects

    names = [name for piece in plain(prompt).split(",") for name in extract_objects(piece)]
    return list(dict.fromkeys(entry.name for name in names if (entry := lexicon().find(name)) is not None))
