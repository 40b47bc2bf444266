"""Changes to a scene that is painted already: an object taken out, put in, exchanged, or given another colour.

Nothing is known of the scene but its pixels: objects are found by their body colour, as the detector finds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shardmill.embedded.scene.drawing import FRAME, LABEL, SCALE, paint_labels, paint_thing, text_width
from shardmill.embedded.scene.palette import LEVELS, Color, between, codes
from shardmill.embedded.scene.reader import LEVEL_OF, Box, flat_codes, instances
from shardmill.embedded.scene.shapes import DEFAULT, SHAPES
from shardmill.language.lexicon import lexicon

Pixels = NDArray[np.uint8]
MARGIN = 2
"""Pixels around a thing that belong to its outline."""
SIDES = (0.34, 0.28, 0.22, 0.17, 0.13)
"""Sizes that a new thing may have, of the image's shorter side, the preferred one first."""
STEP = 6
RECOLORED = 0.6
"""How much of a thing's body gets another colour, from above. The rest stays, or no detector would know what it is."""


class NoRoom(ValueError):
    """There is no free space for a new thing."""


def things_in(image: Image.Image, name: str) -> list[Box]:
    """The cells of an object's instances: the squares that they are drawn in."""
    areas = flat_codes(np.asarray(image))
    return [_cell(name, body) for body in instances(areas == codes()[name])]


def remove(image: Image.Image, name: str) -> Image.Image:
    """The image without an object: its instances and their labels are painted over with the background."""
    pixels = np.asarray(image).copy()
    behind = background(pixels)
    for left, top, right, bottom in things_in(image, name):
        width = text_width(name)
        label = ((left + right - width) / 2, bottom, (left + right + width) / 2, bottom + LABEL)
        _fill(pixels, behind, (left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN))
        _fill(pixels, behind, (label[0] - MARGIN, label[1], label[2] + MARGIN, label[3]))
    return Image.fromarray(pixels)


def add(image: Image.Image, new: str, seed: int) -> Image.Image:
    """The image with one more thing, where nothing is. Raises NoRoom."""
    return _paint(image, new, [_free_cell(np.asarray(image), new, seed)])


def replace(image: Image.Image, name: str, new: str) -> Image.Image:
    """The image with the object `new` in the place of each instance of `name`."""
    cells = things_in(image, name)
    return _paint(remove(image, name), new, cells)


def recolor(image: Image.Image, name: str, color: Color) -> Image.Image:
    """The image with most of an object's body in another colour."""
    pixels = np.asarray(image).copy()
    body = _body(pixels, name)
    for _, top, _, bottom in instances(flat_codes(pixels) == codes()[name]):
        upper = np.zeros(body.shape, dtype=bool)
        upper[round(top) : round(top + RECOLORED * (bottom - top))] = True
        pixels[body & upper] = between(*color)
    return Image.fromarray(pixels)


def background(pixels: Pixels) -> Pixels:
    """The colour of each row behind the things, as (height, 3).

    It is the row's own of the two that are commonest in the image; a row on the horizon, which is of neither, has a mixture.
    """
    inside = _packed(pixels[FRAME + 2 : -FRAME - 2, FRAME + 2 : -FRAME - 2])
    values, counts = np.unique(inside[~_on_lattice(pixels[FRAME + 2 : -FRAME - 2, FRAME + 2 : -FRAME - 2])], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:2]]
    packed = _packed(pixels)
    seen = np.stack([(packed == value).sum(axis=1) for value in common])
    chosen = common[seen.argmax(axis=0)]
    for row in range(FRAME + 2, len(pixels) - FRAME - 2):
        if not seen[:, row].any():
            own, times = np.unique(packed[row], return_counts=True)
            chosen[row] = own[times.argmax()]
    return np.stack([chosen >> 16, (chosen >> 8) & 255, chosen & 255], axis=1).astype(np.uint8)


def _packed(pixels: Pixels) -> NDArray[np.int64]:
    wide = pixels.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _on_lattice(pixels: Pixels) -> NDArray[np.bool_]:
    return np.asarray((LEVEL_OF[pixels] >= 0).all(axis=-1))


def _body(pixels: Pixels, name: str) -> NDArray[np.bool_]:
    """The pixels in the body colour of an object."""
    levels = LEVEL_OF[pixels]
    code = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    return np.asarray((code == codes()[name]) & (levels >= 0).all(axis=-1))


def _cell(name: str, body: Box) -> Box:
    """The square that a thing is drawn in, from the box of its body."""
    strokes = SHAPES.get(lexicon().entries[name].shape, SHAPES[DEFAULT])
    points = [numbers for _, ink, numbers in strokes if ink == "b"]
    xs = [x for numbers in points for x in numbers[::2]]
    ys = [y for numbers in points for y in numbers[1::2]]
    side = max((body[2] - body[0]) / (max(xs) - min(xs)), (body[3] - body[1]) / (max(ys) - min(ys)))
    left, top = body[0] - min(xs) * side, body[1] - min(ys) * side
    return round(left, 1), round(top, 1), round(left + side, 1), round(top + side, 1)


def _fill(pixels: Pixels, behind: Pixels, box: Box) -> None:
    """Paint a part of the image, as far as it is inside the frame, like the background."""
    height, width = pixels.shape[:2]
    edge = FRAME + 1
    left, top = max(edge, math.floor(box[0])), max(edge, math.floor(box[1]))
    right, bottom = min(width - edge, math.ceil(box[2])), min(height - edge, math.ceil(box[3]))
    if left < right and top < bottom:
        pixels[top:bottom, left:right] = behind[top:bottom, None]


def _free_cell(pixels: Pixels, name: str, seed: int) -> Box:
    """A square with nothing in it, and below it room for a label: the largest that there is."""
    height, width = pixels.shape[:2]
    taken = (pixels != background(pixels)[:, None]).any(axis=2)
    taken[: FRAME + 2] = taken[-FRAME - 2 :] = True
    taken[:, : FRAME + 2] = taken[:, -FRAME - 2 :] = True
    sums = np.zeros((height + 1, width + 1), dtype=np.int64)
    sums[1:, 1:] = taken.cumsum(0).cumsum(1)
    for share in SIDES:
        side = round(share * min(width, height))
        across, down = max(side, math.ceil(text_width(name))) + 2 * MARGIN, side + LABEL + 2 * MARGIN
        tops, lefts = np.arange(0, height - down, STEP), np.arange(0, width - across, STEP)
        y, x = np.meshgrid(tops, lefts, indexing="ij")
        free = np.argwhere(sums[y + down, x + across] - sums[y, x + across] - sums[y + down, x] + sums[y, x] == 0)
        if len(free):
            row, column = free[seed % len(free)]
            left, top = lefts[column] + (across - side) / 2, tops[row] + MARGIN
            return float(left), float(top), float(left + side), float(top + side)
    raise NoRoom("no free space for one more thing")


def _paint(image: Image.Image, name: str, cells: Sequence[Box]) -> Image.Image:
    """The image with a thing in each of these cells. All other pixels stay as they are."""
    large = image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    for cell in cells:
        paint_thing(draw, name, cell)
    painted = large.reduce(SCALE)
    paint_labels(ImageDraw.Draw(painted), [(name, cell) for cell in cells], image.size)
    return painted
