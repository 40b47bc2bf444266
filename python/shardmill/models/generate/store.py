"""Images as files named after what they are generated from: the same request finds its image again."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageStat

from shardmill.models.images import UnreadableImage, open_image
from shardmill.util.atomic import replacing

Format = Literal["jpg", "png"]
MAX_FLAT_DEVIATION = 1.0
"""Of 255: the standard deviation that no channel of a blank image exceeds."""
MAX_BLACK_MEAN = 8.0
"""Of 255: the mean that no channel of a black image exceeds."""


def code_digest(*modules: str) -> str:
    """A digest of the source of modules, whatever its comments and formatting: other code may draw another image."""
    sources = [Path(str(import_module(name).__file__)).read_text(encoding="utf-8") for name in modules]
    return sha256("\n".join(ast.unparse(ast.parse(source)) for source in sources).encode()).hexdigest()


def image_digest(drawn_from: Mapping[str, Any]) -> str:
    """The name of an image: a digest of all that it is generated from (model, prompts, seed), as plain values."""
    return sha256(json.dumps(drawn_from, sort_keys=True).encode()).hexdigest()


def image_file(digest: str, format: Format) -> str:
    """The path of an image in its folder: `ab/abcdef….jpg`, so that no folder gets too many files."""
    return f"{digest[:2]}/{digest}.{format}"


def save_image(image: Image.Image, path: Path, quality: int = 95) -> None:
    """Write an image atomically, in the format of the path's suffix. `quality` is for JPEG, from 1 to 100."""
    with replacing(path) as file:
        if path.suffix == ".png":
            image.save(file, "PNG")
        else:
            image.convert("RGB").save(file, "JPEG", quality=quality)


def saved_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the image in a file; None if there is none, or if it is corrupt."""
    try:
        return open_image(str(path)).size
    except UnreadableImage:
        return None


def image_problem(image: Image.Image) -> str | None:
    """ "black image" or "blank image" where nothing is visible, else None: half precision that overflows gives such images."""
    seen = ImageStat.Stat(image.convert("RGB"))
    if max(seen.stddev) > MAX_FLAT_DEVIATION:
        return None
    return "black image" if max(seen.mean) <= MAX_BLACK_MEAN else "blank image"
