"""Which formats of images are opened."""

from __future__ import annotations

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


def image_suffixes() -> set[str]:
    """The suffixes of files, in lower case, that have one of the formats that can be read here."""
    formats = known_formats()
    return {suffix for suffix, format in Image.registered_extensions().items() if format in formats}
