"""Which formats of images are opened."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from importlib import import_module

from PIL import Image

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF", "HEIF")
"""Formats that are opened. Some others that Pillow knows are programs: it has Ghostscript execute an image in EPS."""


@lru_cache(maxsize=1)
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this machine's Pillow can read; HEIF with the package pillow-heif."""
    Image.init()
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """The suffixes of files, in lower case, that have one of the formats that can be read here."""
    formats = known_formats()
    return frozenset(suffix for suffix, format in Image.registered_extensions().items() if format in formats)


CAPTION_NUMBER = re.compile(r"#\d+$")
"""Behind the name of an image in Flickr30k's and Flickr8k's `.token` files: the number of its caption."""


NUMBERED_IMAGE = r"(?i)(\.[a-z0-9]{2,5})#\d+$"


def is_image_name(text: str) -> bool:
    """Whether a text ends as the name of an image file does.

    >>> [is_image_name(text) for text in ("a/1.JPG", "1.jpg#0", "0.tar::1.png", "a dog.", "jpg", "https://x.org/1.jpg")]
    [True, True, True, False, False, False]
    """
    name = CAPTION_NUMBER.sub("", text)
    suffix = name[name.rfind(".") :].lower()
    return suffix != name.lower() and suffix in image_suffixes() and "://" not in name and "\n" not in name
