"""Opening images from unknown sources."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from shardmill.models.archives import MemberNotFound, is_member, read_member

MAX_PIXELS = 100_000_000
"""A larger image is refused before it is decoded: a file of a few kilobytes can claim to be terabytes."""
MAX_BYTES = 512 << 20
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values for an image that is turned by 90 degrees."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF")
"""Formats that are opened. Some others that Pillow knows are programs: it has Ghostscript execute an image in EPS."""
TIFF_SIZE = (256, 257)
"""The tags of a TIFF's width and height."""
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Modes of 16-bit grey images."""


@lru_cache(maxsize=1)
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this machine's Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class UnreadableImage(ValueError):
    """The file does not exist, is not an image, or is corrupt; the message says which."""


def open_image(reference: str) -> Image.Image:
    """The image upright (EXIF orientation applied), in RGB, decoded whole. Raises UnreadableImage.

    `reference` is a path, or names an image in a tar or Parquet file (see `archives`). CMYK, 16-bit, palette and transparent
    images are converted; an animation is refused, since nobody said which of its frames is meant.
    """
    return decode(read(reference), reference)


def size_of(reference: str) -> tuple[int, int]:
    """Width and height of an image as `open_image` turns it, from its header alone. Raises UnreadableImage."""
    try:
        member = is_member(reference)
        if not member and not Path(reference).is_file():
            raise UnreadableImage(f"no such file: {reference}")
        source = io.BytesIO(read(reference)) if member else Path(reference)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=known_formats()) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UnreadableImage(f"{width} x {height} pixels are more than {MAX_PIXELS:,}: {reference}")
                turned = image.getexif().get(ORIENTATION) in SIDEWAYS
                if image.format == "TIFF":  # its `size` is turned already in some versions of Pillow; its tags never are
                    width, height = (int(image.tag_v2[tag]) for tag in TIFF_SIZE)
    except UnreadableImage:
        raise
    except FileNotFoundError as error:
        raise UnreadableImage(f"no such file: {reference}") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not an image of a known format: {reference}") from error
    except Exception as error:  # see decode
        raise UnreadableImage(f"{type(error).__name__}: {error}: {reference}") from error
    return (height, width) if turned else (width, height)


def read(reference: str) -> bytes:
    """The bytes of an image file. Raises UnreadableImage."""
    try:
        if is_member(reference):
            return read_member(reference, MAX_BYTES)
        path = Path(reference)
        if not path.is_file():
            raise UnreadableImage(f"no such file: {reference}")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage(f"{path.stat().st_size:,} bytes are more than {MAX_BYTES:,}: {reference}")
        return path.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, UnreadableImage):
            raise
        message = str(error) if isinstance(error, MemberNotFound) else f"{type(error).__name__}: {error}: {reference}"
        raise UnreadableImage(message) from error


def decode(data: bytes, reference: str) -> Image.Image:
    """The image in the bytes of a file, as `open_image` gives it; `reference` is for the message."""
    if not data:
        raise UnreadableImage(f"the file is empty: {reference}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=known_formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}: {reference}")
                if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                    raise UnreadableImage(f"an animation of {image.n_frames} frames: {reference}")
                if image.mode == "F":
                    raise UnreadableImage(f"numbers without a known range of grey: {reference}")
                upright = ImageOps.exif_transpose(image)
                return (_eight_bits(upright) if upright.mode in DEEP else upright).convert("RGB")
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not an image of a known format: {reference}") from error
    except Exception as error:  # Pillow raises many types on corrupt files (SyntaxError, struct.error, zlib.error, ...)
        raise UnreadableImage(f"{type(error).__name__}: {error}: {reference}") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image with its range brought to 8 bits; Pillow's own conversion cuts off all above 255."""
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip(values >> 8 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8))
