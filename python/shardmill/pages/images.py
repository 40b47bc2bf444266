"""Pictures inside of a page: small JPEGs as data URLs, for every page that must work from one file.

For the audit page, and for the report's gallery (`report/page.py`): both open a picture through `inline_jpeg` only.
"""

from __future__ import annotations

import io
from base64 import b64encode
from typing import NamedTuple

from PIL import Image

from shardmill.models.images import UnreadableImage, open_image

QUALITY = 80


class PageImage(NamedTuple):
    """A picture as a data URL, and the width and height in pixels of the upright original, which boxes are in."""

    url: str
    width: int
    height: int


def inline_jpeg(reference: str, side: int = 360) -> PageImage | str:
    """The picture that a reference of a run names, no longer than `side` pixels on either side; or why it cannot be shown.

    Nothing of the file but its pixels gets into the page: no metadata, no other format than JPEG.
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
