"""Images inside a page: small JPEGs as data URLs, for pages that must work from one file."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import NamedTuple

from PIL import Image

from shardmill.models.images import UnreadableImage, open_image

QUALITY = 80


class PageImage(NamedTuple):
    """An image as a data URL, and the width and height in pixels of the upright original, which boxes refer to."""

    url: str
    width: int
    height: int


def inline_jpeg(reference: str, side: int = 360) -> PageImage | str:
    """An image for a page. Nothing of the file but its pixels gets into the page: no metadata, no other format than JPEG.

    Args:
        reference: The image's reference, as `models.images` opens it.
        side: The longest side in pixels.

    Returns:
        The image, or in words why it cannot be shown.
    """
    try:
        image = open_image(reference)
    except UnreadableImage as problem:
        return str(problem)
    width, height = image.size
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    file = io.BytesIO()
    clean.save(file, "JPEG", quality=QUALITY, optimize=True)
    return PageImage("data:image/jpeg;base64," + b64encode(file.getvalue()).decode("ascii"), width, height)
