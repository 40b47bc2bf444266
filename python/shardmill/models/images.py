"""Opening image files that nobody has vouched for."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000
"""A larger picture is refused before it is decoded: a file of a few kilobytes can claim to be terabytes."""


class UnreadableImage(ValueError):
    """The file is missing, no image, or damaged; the message says which."""


def open_image(path: str) -> Image.Image:
    """The image upright (EXIF orientation applied), in RGB, decoded whole. Raises UnreadableImage."""
    if not Path(path).is_file():
        raise UnreadableImage(f"no such file: {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}: {path}")
                return ImageOps.exif_transpose(image).convert("RGB")
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow raises many types on damaged files (SyntaxError, struct.error, zlib.error, ...)
        raise UnreadableImage(f"{type(error).__name__}: {error}: {path}") from error
