"""Pictures as files named after what they were painted from: the same request finds its picture again."""

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
from shardmill.store.atomic import replacing

Format = Literal["jpg", "png"]
FLAT = 1.0
"""Of 255: the standard deviation that no channel of a blank picture exceeds."""
DARK = 8.0
"""Of 255: what the channels of a black picture have in the mean, at most."""


def code_digest(*modules: str) -> str:
    """A digest of the source of modules, whatever its comments and formatting: other code may draw another image."""
    sources = [Path(str(import_module(name).__file__)).read_text(encoding="utf-8") for name in modules]
    return sha256("\n".join(ast.unparse(ast.parse(source)) for source in sources).encode()).hexdigest()


def address(painted_from: Mapping[str, Any]) -> str:
    """The name of a picture: a digest of all that it was painted from, as plain values."""
    return sha256(json.dumps(painted_from, sort_keys=True).encode()).hexdigest()


def file_name(address: str, format: Format) -> str:
    """Where the picture lies, relative to its folder: `ab/abcdef….jpg`, so that no folder gets too full."""
    return f"{address[:2]}/{address}.{format}"


def save(image: Image.Image, path: Path, quality: int = 95) -> None:
    """Write a picture, durable and whole or not at all, in the format of the path's ending. `quality` is for JPEG."""
    with replacing(path) as file:
        if path.suffix == ".png":
            image.save(file, "PNG")
        else:
            image.convert("RGB").save(file, "JPEG", quality=quality)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of the picture in a file; None when there is none, or not the whole of one."""
    try:
        return open_image(str(path)).size
    except UnreadableImage:
        return None


def fault_of(image: Image.Image) -> str | None:
    """ "black image" or "blank image" where there is nothing to see (a model that overflowed paints such), else None."""
    seen = ImageStat.Stat(image.convert("RGB"))
    if max(seen.stddev) > FLAT:
        return None
    return "black image" if max(seen.mean) <= DARK else "blank image"
