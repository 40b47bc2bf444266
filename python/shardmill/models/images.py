"""Opening images from unknown sources."""

from __future__ import annotations

import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from shardmill.models.archives import MemberNotFound, is_member, read_member
from shardmill.util.image_formats import known_formats

MAX_PIXELS = 100_000_000
"""A larger image is refused before it is decoded: a file of a few kilobytes can claim to be terabytes."""
MAX_BYTES = 512 << 20
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values for an image that is turned by 90 degrees."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TIFF_SIZE = (256, 257)
"""The tags of a TIFF's width and height."""
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Modes of 16-bit grey images."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a shade that cameras and scanners give; a file says 16 for most of them."""
DEEP_COLOUR, BLACK = re.compile(r"\b(?:RGBA?|LA);16"), 1 << 4
"""Of colours of 16 bits Pillow keeps the upper 8 alone, of which nothing is left of a range of 12 bits."""
PNG, PNG_TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""How a PNG begins, and its chunks of text and of colour profiles."""
REFUSED = (ValueError, SyntaxError, UnidentifiedImageError)
"""What Pillow raises for these chunks: for their size, and for their damage."""


MEAN_COLOR = (122, 116, 104)
"""The mean colour of the images that CLIP was trained on: LLaVA-1.5 pads with it."""


class UnreadableImage(ValueError):
    """The file does not exist, is not an image, or is corrupt; the message says which."""


def open_image(reference: str) -> Image.Image:
    """The image upright (EXIF orientation applied), in RGB, decoded whole. Raises UnreadableImage.

    `reference` is a path, or names an image in a tar or Parquet file (see `archives`). CMYK, 16-bit, palette and transparent
    images are converted; an animation is refused, since nobody said which of its frames is meant.
    """
    return decode(read(reference), reference)


def fit_pixels(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image, scaled down to at most so many pixels."""
    if image.width * image.height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (image.width * image.height))
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)


def pad_to_square(image: Image.Image) -> Image.Image:
    """The image in the middle of a square of the mean colour. Raises UnreadableImage if the square is larger than any image."""
    side = max(image.size)
    if side * side > MAX_PIXELS:
        raise UnreadableImage(f"{image.width} x {image.height} pixels are too narrow to be padded to a square")
    return image if image.width == image.height else ImageOps.pad(image, (side, side), color=MEAN_COLOR)


def size_of(reference: str) -> tuple[int, int]:
    """Width and height of an image as `open_image` turns it, from its header alone. Raises UnreadableImage."""
    try:
        member = is_member(reference)
        if not member and not Path(reference).is_file():
            raise UnreadableImage(f"no such file: {reference}")
        try:
            return _size(io.BytesIO(read(reference)) if member else Path(reference), reference)
        except REFUSED:
            return _size(io.BytesIO(_without_texts(read(reference))), reference)
    except Exception as error:
        raise _unreadable(error, reference) from error


def _size(source: io.BytesIO | Path, reference: str) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source, formats=known_formats()) as image:
            width, height = image.size
            _check_size(image, reference)
            turned = orientation_of(image) in SIDEWAYS
            if image.format == "TIFF":  # its `size` is turned already in some versions of Pillow; its tags never are
                width, height = (int(image.tag_v2[tag]) for tag in TIFF_SIZE)
    return (height, width) if turned else (width, height)


def _check_size(image: Image.Image, reference: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}: {reference}")


def orientation_of(image: Image.Image) -> int:
    """How an image is to be turned; 1, not at all, where its EXIF data cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 (whatever a strange tag brings about, the picture is there)
        return 1


def _unreadable(error: Exception, reference: str) -> UnreadableImage:
    """Pillow raises many types on corrupt files (SyntaxError, struct.error, zlib.error, ...)."""
    if isinstance(error, UnreadableImage):
        return error
    if isinstance(error, FileNotFoundError):
        return UnreadableImage(f"no such file: {reference}")
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage(f"not an image of a known format: {reference}")
    return UnreadableImage(f"{type(error).__name__}: {error}: {reference}")


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
        try:
            return _decode(data, reference)
        except REFUSED:
            return _decode(_without_texts(data), reference)
    except Exception as error:
        raise _unreadable(error, reference) from error


def format_of(data: bytes) -> str:
    """The format of an image that `decode` has read, as Pillow calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=known_formats()) as image:
                return image.format or ""
        except REFUSED:
            with Image.open(io.BytesIO(_without_texts(data)), formats=known_formats()) as image:
                return image.format or ""


def _decode(data: bytes, reference: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a large image, and of strange EXIF tags
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            _check_size(image, reference)
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise UnreadableImage(f"an animation of {image.n_frames} frames: {reference}")
            if image.mode == "F":
                raise UnreadableImage(f"numbers without a known range of grey: {reference}")
            deep_colour = any(DEEP_COLOUR.search(str(tile)) for tile in image.tile)
            image.load()  # a TIFF is turned by that in some versions of Pillow, which then drop its tag
            turn = UPRIGHT.get(orientation_of(image))
            upright = image if turn is None else image.transpose(turn)
            if deep_colour and max(band[1] for band in image.convert("RGB").getextrema()) < BLACK:
                raise UnreadableImage(f"colours of 12 bits or less in 16: {reference}")
            return (_eight_bits(upright) if upright.mode in DEEP else upright).convert("RGB")


def _without_texts(data: bytes) -> bytes:
    """A PNG without texts and colour profiles, at whose size or damage Pillow stops; other formats as they are."""
    if not data.startswith(PNG):
        return data
    kept, at = [PNG], len(PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in PNG_TEXTS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of up to 16 bits with its range brought to 8 bits; Pillow's own conversion cuts off all above 255.

    The range is the smallest usual one that holds its brightest shade: a file of 16 bits often has a scan of 12.
    """
    values = np.clip(np.asarray(image).astype(np.int64), 0, None)
    bits = int(values.max(initial=0)).bit_length()
    depth = next((depth for depth in DEPTHS if bits <= depth), bits)
    return Image.fromarray((values >> (depth - 8)).astype(np.uint8))
