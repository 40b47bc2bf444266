"""Images as tensors: decoded by Pillow in threads, or, where there is CUDA, by the GPU's JPEG decoder."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from shardmill.models.failures import OUT_OF_MEMORY
from shardmill.models.images import MAX_PIXELS, decode, orientation_of, read

log = logging.getLogger("shardmill")

Decoder = Literal["auto", "pillow", "nvjpeg"]
ORIENTATIONS = {3: (2, False), 6: (3, False), 8: (1, False), 2: (0, True), 4: (2, True), 5: (3, True), 7: (1, True)}
"""EXIF orientation: quarter turns to the left, then mirrored left to right or not."""
END_OF_JPEG = b"\xff\xd9"


@dataclass
class ImageTensor:
    """An upright image: `pixels` is a uint8 tensor (3, height, width); for nvJPEG the file waits in `jpeg`."""

    width: int
    height: int
    pixels: Any = None
    jpeg: bytes = b""
    orientation: int = 1
    reference: str = ""


def load_image_tensor(reference: str, on_gpu: bool) -> ImageTensor:
    """Read an image; decode it here, unless the GPU can do so later. Raises UnreadableImage."""
    data = read(reference)
    if on_gpu and (found := _plain_jpeg(data)) is not None:
        width, height, orientation = found
        turned = orientation in (5, 6, 7, 8)
        return ImageTensor(*((height, width) if turned else (width, height)), None, data, orientation, reference)
    return _decoded(data, reference)


def _decoded(data: bytes, reference: str) -> ImageTensor:
    import torch

    image = decode(data, reference)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return ImageTensor(image.width, image.height, pixels, reference=reference)


def _plain_jpeg(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and orientation of a whole grey or RGB JPEG; None for all else, which Pillow then decodes or refuses."""
    if data[:2] != b"\xff\xd8" or not data.rstrip(b"\0\r\n").endswith(END_OF_JPEG):
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and image.info.get("adobe_transform") != 0
            if not plain or image.width * image.height > MAX_PIXELS:
                return None
            return image.width, image.height, orientation_of(image)
    except Exception:  # noqa: BLE001 (Pillow raises many types on corrupt files)
        return None


def pixels_of(images: Sequence[ImageTensor], device: Any) -> list[Any]:
    """The pixels of images on a device, each uint8 (3, height, width). Raises UnreadableImage for a corrupt JPEG."""
    encoded = [image for image in images if image.pixels is None]
    if encoded:
        for image, pixels in zip(encoded, _decode_on_gpu(encoded, device), strict=True):
            image.pixels, image.jpeg = pixels, b""
    return [image.pixels.to(device, non_blocking=True) for image in images]


def _decode_on_gpu(images: Sequence[ImageTensor], device: Any) -> list[Any]:
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        decoded = decode_jpeg([_bytes_of(image) for image in images], mode=ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        if any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise
        if len(images) == 1:  # a variant that nvJPEG does not support
            return [_decoded(images[0].jpeg, images[0].reference).pixels]
        return [pixels for image in images for pixels in _decode_on_gpu([image], device)]
    return [upright(pixels, image.orientation) for pixels, image in zip(decoded, images, strict=True)]


def _bytes_of(image: ImageTensor) -> Any:
    import torch

    return torch.frombuffer(bytearray(image.jpeg), dtype=torch.uint8)


def upright(pixels: Any, orientation: int) -> Any:
    """Pixels (3, height, width) turned as their EXIF orientation says."""
    turns, mirrored = ORIENTATIONS.get(orientation, (0, False))
    turned = pixels.rot90(turns, (1, 2)) if turns else pixels
    return turned.flip(2) if mirrored else turned


def can_decode_on_gpu(decoder: Decoder, device: str) -> bool:
    """Whether JPEGs are left to the GPU: as the setting says; for auto, where CUDA and torchvision's decoder work."""
    if decoder != "auto":
        return decoder == "nvjpeg"
    if not device.startswith("cuda"):
        return False
    sample = io.BytesIO()
    Image.new("RGB", (16, 16)).save(sample, "JPEG")
    try:
        from torchvision.io import decode_jpeg

        decode_jpeg([_bytes_of(ImageTensor(16, 16, jpeg=sample.getvalue()))], device=device)
    except (ImportError, RuntimeError, TypeError) as error:
        log.warning("JPEGs are decoded on the CPU: torchvision's decoder does not work on %s (%s)", device, error)
        return False
    return True
