"""Images as servers get them: upright, bounded in pixels and tiles, as data URLs in a chat."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, Field

from shardmill.models.images import fit_pixels, open_image, pad_to_square

DEFAULT_PIXELS = 1_003_520
"""1,280 visual tokens of Qwen2-VL; the largest image that OpenAI and Anthropic do not scale down has about as many."""
MAX_PIXELS = 16_000_000
JPEG_QUALITY, MAX_SIDE = 90, 65_500
"""The longest side that a JPEG can have; only images of a few pixels' height are longer after scaling."""
MAX_TILES = 40
SHAPING = ("max_pixels", "square", "max_tiles", "tile_size", "detail")


class SentImageSettings(BaseModel):
    """How images are sent to a server."""

    max_pixels: int = Field(DEFAULT_PIXELS, ge=784, le=MAX_PIXELS, description="maximum pixels; larger images are scaled down")
    square: bool = Field(False, description="pad images to a square (LLaVA-1.5 was trained so)")
    max_tiles: int | None = Field(
        default=None, ge=1, le=MAX_TILES, description="scale images down to so many tiles, for servers that bill them or are slow"
    )
    tile_size: int = Field(512, ge=64, le=4096, description="side in pixels of a tile of the server's model; 512: OpenAI's")
    detail: Literal["auto", "low", "high"] | None = Field(default=None, description="OpenAI's parameter of images")

    def read_image(self, reference: str) -> SentImage:
        """The image of a reference, encoded. Raises UnreadableImage."""
        image = open_image(reference)
        original_size, image = image.size, fit_pixels(image, self.max_pixels)
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC, reducing_gap=3)
        sent = pad_to_square(image) if self.square else image
        padding = (1 - image.width / sent.width) / 2, (1 - image.height / sent.height) / 2
        found = SentImage(original_size, sent, self.tile_size, padding)
        found.url(self.max_tiles)  # encoded here, in a thread that reads ahead
        return found

    def parts(self, images: Sequence[str], text: str) -> list[dict[str, Any]]:
        """The parts of a user turn: images before text, so that all prompts about them begin alike.

        Args:
            images: Data URLs.
            text: The prompt.
        """
        detail = {} if self.detail is None else {"detail": self.detail}
        return [*({"type": "image_url", "image_url": {"url": url, **detail}} for url in images), {"type": "text", "text": text}]


@dataclass
class SentImage:
    """An image that is ready to be sent.

    `original_size` is the size of the upright image of the file, `padding` the share of each side that was added at both of its
    ends.
    """

    original_size: tuple[int, int]
    image: Image.Image = field(repr=False)
    tile_size: int
    padding: tuple[float, float] = (0.0, 0.0)
    _urls: dict[int | None, str] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height

    def url(self, max_tiles: int | None) -> str:
        """The image as a data URL, with at most so many tiles.

        It is always encoded anew: what a photo's file holds besides its pixels, such as where it was taken, stays here.
        """
        if max_tiles not in self._urls:
            size = self.size_in(max_tiles)
            image = self.image if size == self.image.size else self.image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)
            content = io.BytesIO()
            image.save(content, "JPEG", quality=JPEG_QUALITY)
            self._urls[max_tiles] = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
        return self._urls[max_tiles]

    def size_in(self, max_tiles: int | None) -> tuple[int, int]:
        """The largest size, of the same shape, that takes at most so many tiles.

        >>> SentImage((0, 0), Image.new("RGB", (1600, 800)), 512).size_in(2)
        (1024, 512)
        """
        if max_tiles is None:
            return self.image.size
        scales = (min(columns / self.width, max_tiles // columns / self.height) for columns in range(1, max_tiles + 1))
        scale = min(1.0, self.tile_size * max(scales))
        return max(1, math.floor(self.width * scale + 1e-6)), max(1, math.floor(self.height * scale + 1e-6))

    def geometry(self, max_tiles: int | None) -> Geometry:
        """How positions in the image that is sent relate to those in the original."""
        return Geometry(self.original_size, self.size_in(max_tiles), self.padding)


@dataclass(frozen=True)
class Geometry:
    """An image as its file has it and as it was sent; see `SentImage`."""

    original_size: tuple[int, int]
    sent_size: tuple[int, int]
    padding: tuple[float, float] = (0.0, 0.0)

    def box_in_original(self, box: Sequence[float], scale: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """A box of an answer in pixels of the original, clipped to it; None if nothing of it is left.

        Args:
            box: x0, y0, x1, y1, of any two opposite corners.
            scale: The width and height that the answer takes the image to have.
        """
        x0, x1 = sorted(self._position(side, scale, 0) for side in (box[0], box[2]))
        y0, y1 = sorted(self._position(side, scale, 1) for side in (box[1], box[3]))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def _position(self, side: float, scale: tuple[int, int], axis: int) -> float:
        share = (side / scale[axis] - self.padding[axis]) / (1 - 2 * self.padding[axis])
        return min(max(share, 0.0), 1.0) * self.original_size[axis]


@dataclass(frozen=True)
class ImageChat:
    """The chat of a request about images: one turn of the user."""

    task: str
    parts: list[dict[str, Any]] = field(repr=False)
    values: Mapping[str, Any] = field(default_factory=dict)

    def messages(self, seed: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": self.parts}]
