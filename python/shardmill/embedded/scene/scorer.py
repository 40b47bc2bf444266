"""`scene`: how well texts fit a scene image, without weights; for any other image, by its colours and light.

The score of a text is `BEST` times the share of what it names that is seen. An object of the lexicon counts 1 and is seen when
the image shows it, or something of its kind. A word for a colour or for much or little light counts `LOOK` and is seen when
the image has that colour or light. In any other than a scene image no object is seen. A text that names nothing of
all this scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from shardmill.embedded.scene.captioner import COLORS
from shardmill.language.lexicon import lexicon_digest
from shardmill.language.named_objects import named_objects
from shardmill.models.contract import Model, Reply, ScoreRequest, Scores
from shardmill.models.images import UnreadableImage, open_image

BEST = 0.35
"""What a text scores that fits in all it names: about where the cosines of CLIP end, so that its thresholds make sense here."""
LOOK = 0.2
ENOUGH = 0.02
"""The share of an image from which on a colour is in it."""
BRIGHT, DARK = 160, 80
"""Mean values of the pixels, of 255."""
LIGHT = ("bright", "dark")
WORD = re.compile(r"[a-z]+")


class SceneScorer(Model):
    """Scores texts by what they name. The same image and text always score the same."""

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """The digest of the lexicon of what it can see."""
        return {"lexicon": lexicon_digest()}

    def stream(self, requests: Iterable[ScoreRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        for request in requests:
            try:
                image = open_image(request.image)
            except UnreadableImage as error:
                yield Reply(request.key, None, "unusable", "unreadable image", str(error))
            else:
                looks = looks_of(image)
                yield Reply(request.key, Scores(tuple(score(image, looks, text) for text in request.texts)))


def score(image: Image.Image, looks: frozenset[str], text: str) -> float:
    """The score of a text in [0, `BEST`], for an image and the words that are true of its looks."""
    from shardmill.embedded.scene.reader import NotAScene, detect_objects

    names = [entry.name for entry in named_objects(text)]
    words = set(WORD.findall(text.lower().replace("gray", "grey"))) & {*COLORS, *LIGHT}
    named = len(names) + LOOK * len(words)
    if not named:
        return 0.0
    try:
        seen = sum(1 for result in detect_objects(image, names).values() if result.boxes)
    except NotAScene:
        seen = 0
    return BEST * (seen + LOOK * len(words & looks)) / named


def looks_of(image: Image.Image) -> frozenset[str]:
    """The words for colours and light that are true of an image."""
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=np.int32).reshape(-1, 3)
    nearest = np.square(small[:, None] - np.array(list(COLORS.values()))).sum(-1).argmin(1)
    shares = np.bincount(nearest, minlength=len(COLORS)) / len(nearest)
    colors = [name for name, share in zip(COLORS, shares, strict=True) if share >= ENOUGH]
    light = ["bright"] if small.mean() > BRIGHT else ["dark"] if small.mean() < DARK else []
    return frozenset([*colors, *light])
