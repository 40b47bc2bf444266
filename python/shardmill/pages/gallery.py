"""Cards of rows laid out for a page: the image with its boxes, the texts, and what became of the row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardmill.models.archives import is_member
from shardmill.pages.cards import BoxView, Card
from shardmill.pages.images import PageImage, inline_jpeg
from shardmill.pages.shown import shortened

MAX_NAME = 24
LABEL_HEIGHT = 0.038
"""Height of a label as a share of the image's longer side."""
BOX_KINDS = {"kept": "kept", "dropped": "dropped", "absent": "absent"}

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class DrawnBox:
    """A box cut to its image, in pixels of the original, and the position of its label."""

    kind: str
    label: str
    x: float
    y: float
    width: float
    height: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class CardView:
    """A card as the page shows it. `anchor` is its id on the page; `note` says why there is no image."""

    card: Card
    anchor: str
    picture: PageImage | None
    note: str
    boxes: list[DrawnBox]
    legend: list[tuple[str, str, str, float, int]]
    """(kind, what it means, name, best score, number of boxes) of every object."""
    label_size: float


def views(cards: Sequence[Card], image_root: Path | None = None) -> list[CardView]:
    """The cards of a page. Relative references of images start from `image_root`."""
    images: dict[str, PageImage | str] = {}
    seen: dict[int, int] = {}
    found = []
    for card in cards:
        count = seen[card.row_id] = seen.get(card.row_id, 0) + 1
        anchor = f"row-{card.row_id}" if count == 1 else f"row-{card.row_id}-{count}"
        image: PageImage | str = ""
        if card.image:
            reference = _reference(card.image, image_root)
            if reference not in images:
                images[reference] = inline_jpeg(reference)
            image = images[reference]
        found.append(_view(card, anchor, image))
    return found


def _view(card: Card, anchor: str, image: PageImage | str) -> CardView:
    scores: dict[tuple[str, str], list[float]] = {}
    for box in card.boxes:
        scores.setdefault((box.kind, box.name), []).append(box.score)
    legend = [(kind, BOX_KINDS[kind], name, max(found), len(found)) for (kind, name), found in scores.items()]
    if isinstance(image, str):
        return CardView(card, anchor, None, image, [], legend, 0.0)
    size = max(image.width, image.height) * LABEL_HEIGHT
    return CardView(card, anchor, image, "", drawn_boxes(card.boxes, image.width, image.height), legend, round(size, 2))


def _reference(image: str, root: Path | None) -> str:
    return image if root is None or is_member(image) or Path(image).is_absolute() else str(root / image)


def drawn_boxes(boxes: Sequence[BoxView], width: int, height: int) -> list[DrawnBox]:
    """The boxes cut to their image of `width` by `height` pixels; those that are not finite or have no area are left out."""
    found: list[DrawnBox] = []
    taken: list[Rectangle] = []
    for box in boxes:
        if not all(math.isfinite(side) for side in box.box):
            continue
        x0, x1 = (round(min(max(side, 0), width), 1) for side in (box.box[0], box.box[2]))
        y0, y1 = (round(min(max(side, 0), height), 1) for side in (box.box[1], box.box[3]))
        if x1 <= x0 or y1 <= y0:
            continue
        label = f"{shortened(box.name, MAX_NAME)} {box.score:.2f}"
        spot = _label_spot((x0, y0, x1, y1), len(label), width, height, taken)
        taken.append(spot)
        at_right = spot[0] != x0
        label_x, label_y = round(spot[2] if at_right else spot[0], 1), round(spot[3] - 0.3 * max(width, height) * LABEL_HEIGHT, 1)
        end = "end" if at_right else "start"
        found.append(DrawnBox(box.kind, label, x0, y0, round(x1 - x0, 1), round(y1 - y0, 1), label_x, label_y, end))
    return found


def _label_spot(box: Rectangle, characters: int, width: int, height: int, taken: Sequence[Rectangle]) -> Rectangle:
    """Where a label goes: above its box, inside it or below it, within the image, and over no other label if possible."""
    tall = 1.3 * max(width, height) * LABEL_HEIGHT
    wide = min(0.6 / 1.3 * tall * characters, width)
    lefts = [left for left in (box[0], box[2] - wide) if 0 <= left <= width - wide] or [min(box[0], width - wide)]
    tops = [top for top in (box[1] - tall, box[1], box[3] - tall, box[3]) if 0 <= top <= height - tall] or [0.0]
    spots = [(left, top, left + wide, top + tall) for top in tops for left in lefts]
    return next((spot for spot in spots if not any(_overlap(spot, other) for other in taken)), spots[0])


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def anchors(found: Sequence[CardView]) -> Mapping[tuple[int, int | None], str]:
    """The anchor of each row's card: by (row_id, sub_id), and by (row_id, None) that of its first card."""
    known: dict[tuple[int, int | None], str] = {}
    for view in found:
        known.setdefault((view.card.row_id, view.card.sub_id), view.anchor)
        known.setdefault((view.card.row_id, None), view.anchor)
    return known
