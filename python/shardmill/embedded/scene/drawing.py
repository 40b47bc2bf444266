"""Drawing scenes: objects of the lexicon, each in a cell of its own, before a plain background, in a frame of one colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFont

from shardmill.embedded.scene.palette import DARK, INKS, MAT, MAT_LINE, Color, between, body_color
from shardmill.embedded.scene.reader import Box
from shardmill.embedded.scene.shapes import DEFAULT, SHAPES
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.util.errors import UserError

Objects = Sequence[str | tuple[str, int]]
MAX_THINGS = 16
FRAME = 5
LABEL = 12
SCALE = 2
INDOORS = {
    "bathroom",
    "bedroom",
    "classroom",
    "dining",
    "gym",
    "hospital",
    "kitchen",
    "living room",
    "office",
    "restaurant",
    "shop",
}
WALLS = [
    (between(224, 208, 192), between(192, 144, 112)),
    (between(208, 224, 208), between(192, 160, 128)),
    (between(224, 224, 208), between(160, 128, 80)),
]
SKIES = [
    (between(192, 224, 255), between(208, 224, 160)),
    (between(208, 224, 255), between(224, 208, 144)),
    (between(224, 208, 208), between(192, 208, 144)),
]


def layout(objects: Objects, seed: int, size: tuple[int, int] = (320, 240)) -> list[tuple[str, Box]]:
    """The objects' names in drawing order, each with its box (x0, y0, x1, y1) in pixels.

    `objects` are names of the lexicon, or (name, count). Raises UserError for an unknown name and for more than 16 things.
    """
    names = [entry.name for entry, count in _entries(objects) for _ in range(count)]
    if len(names) > MAX_THINGS:
        raise UserError(f"{len(names)} things do not fit into one image; at most {MAX_THINGS}")
    rng = Random(f"layout {seed}")
    rng.shuffle(names)
    width, height = size[0] - 2 * FRAME, size[1] - 2 * FRAME
    columns = max(1, round(math.sqrt(len(names) * width / height)))
    rows = math.ceil(len(names) / columns)
    boxes = []
    for index, name in enumerate(names):
        row, column = divmod(index, columns)
        across = len(names) - row * columns if row == rows - 1 else columns
        slot_w, slot_h = width / across, height / rows
        side = min(slot_w, slot_h - LABEL, 0.62 * min(size)) * rng.uniform(0.78, 0.92)
        x = FRAME + column * slot_w + rng.uniform(0.1, 0.9) * (slot_w - side)
        y = FRAME + row * slot_h + rng.uniform(0.3, 0.9) * (slot_h - LABEL - side)
        boxes.append((name, (round(x, 1), round(y, 1), round(x + side, 1), round(y + side, 1))))
    return boxes


def _entries(objects: Objects) -> list[tuple[LexiconEntry, int]]:
    found = []
    for item in objects:
        name, count = (item, 1) if isinstance(item, str) else item
        entry = lexicon().find(name)
        if entry is None:
            raise UserError(f"the lexicon has no object {name!r}")
        found.append((entry, count))
    return found


def draw_scene(
    objects: Objects, seed: int, size: tuple[int, int] = (320, 240), scene: str | None = None, labels: bool = True
) -> Image.Image:
    """An image of the objects in the boxes of `layout`, with their names below; `scene` and `seed` choose the background."""
    image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), MAT)
    draw = ImageDraw.Draw(image)
    _background(draw, size, Random(f"background {seed}"), scene)
    boxes = layout(objects, seed, size)
    for name, box in boxes:
        paint_thing(draw, name, box)
    image = image.reduce(SCALE)
    if labels:
        paint_labels(ImageDraw.Draw(image), boxes, size)
    return image


def _background(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: Random, scene: str | None) -> None:
    width, height = size[0] * SCALE, size[1] * SCALE
    edge = FRAME * SCALE
    above, below = rng.choice(WALLS if scene in INDOORS or (scene is None and rng.random() < 0.4) else SKIES)
    horizon = rng.uniform(0.55, 0.75) * height
    draw.rectangle((edge, edge, width - edge - 1, height - edge - 1), fill=above, outline=MAT_LINE, width=SCALE)
    draw.rectangle((edge + SCALE, horizon, width - edge - 1 - SCALE, height - edge - 1 - SCALE), fill=below)


def paint_thing(draw: ImageDraw.ImageDraw, name: str, box: Box) -> None:
    """Draw an object of the lexicon in its box, which is in pixels of the final image, on one that is SCALE times as large."""
    entry = lexicon().entries[name]
    inks: dict[str, Color] = {**INKS, "b": body_color(name)}
    x0, y0, side = box[0] * SCALE, box[1] * SCALE, (box[2] - box[0]) * SCALE
    strokes = SHAPES.get(entry.shape, SHAPES[DEFAULT])
    for pen in (True, False):  # first the outline of the whole body, then the body and its details
        for kind, ink, numbers in strokes:
            if pen and ink != "b":
                continue
            points = [(x0 + x * side, y0 + y * side) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            _stroke(draw, kind, points, inks["o"] if pen else inks[ink], side, pen)


def _stroke(
    draw: ImageDraw.ImageDraw, kind: str, points: list[tuple[float, float]], color: Color, side: float, pen: bool
) -> None:
    line = max(SCALE, round(side / 40))
    grow = line if pen else 0
    if kind in "era":
        (left, top), (right, bottom) = points
        box = (left - grow, top - grow, right + grow, bottom + grow)
        if kind == "e":
            draw.ellipse(box, fill=color)
        elif kind == "r":
            draw.rounded_rectangle(box, radius=side / 24, fill=color)
        else:
            draw.pieslice(box, 180, 360, fill=color)
    elif kind == "p":
        draw.polygon(points, fill=color)
        if pen:
            draw.line([*points, points[0], points[1]], fill=color, width=2 * line, joint="curve")
    else:
        draw.line(points, fill=color, width=max(line, round(side / 22)), joint="curve")


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=9)


def text_width(name: str) -> float:
    """How wide the label of an object is, in pixels."""
    return float(_font().getlength(name))


def paint_labels(draw: ImageDraw.ImageDraw, boxes: Sequence[tuple[str, Box]], size: tuple[int, int]) -> None:
    """Write the name of each object below its box."""
    for name, (x0, _, x1, y1) in boxes:
        width = draw.textlength(name, font=_font())
        left = min(max((x0 + x1 - width) / 2, FRAME + 2), size[0] - FRAME - 2 - width)
        draw.text((left, y1 + 1), name, fill=DARK, font=_font())
