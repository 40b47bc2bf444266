"""From scores and boxes of a whole batch to the findings of each name; all of it as tensors, on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardmill.models.contract import DetectionResult

MAX_BOXES = 16
"""Boxes of one name that are looked at; the best first."""
SAME_OBJECT = 0.5
"""Two boxes of one name that overlap by this IoU are one object; the better one stays."""


def best_boxes(scores: Any, boxes: Any) -> tuple[Any, Any]:
    """The best boxes of each name, one for each object.

    `scores` (rows, boxes, names) in [0, 1]; `boxes` (rows, boxes, 4) as center x, center y, width, height, relative to the
    picture. Gives scores (rows, names, k), falling, those of dropped boxes 0, and boxes (rows, names, k, 4) as x0, y0, x1, y1.
    """
    import torch

    top, places = scores.transpose(1, 2).topk(min(MAX_BOXES, scores.shape[1]), dim=-1)
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([center - half, center + half], dim=-1).clamp(0, 1)
    rows, names, most = places.shape
    chosen = corners.gather(1, places.reshape(rows, -1, 1).expand(-1, -1, 4)).reshape(rows, names, most, 4)
    return torch.where(_kept(chosen), top, torch.zeros_like(top)), chosen


def _kept(boxes: Any) -> Any:
    """Which of the boxes (…, k, 4), best first, stay: greedy suppression of those that overlap with a better one that stays."""
    import torch

    low = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    overlaps = shared > SAME_OBJECT * (area[..., :, None] + area[..., None, :] - shared)
    kept = torch.ones(boxes.shape[:-1], dtype=torch.bool, device=boxes.device)
    for place in range(1, boxes.shape[-2]):
        kept[..., place] = ~(overlaps[..., place, :place] & kept[..., :place]).any(-1)
    return kept


def findings(
    names: Sequence[str], scores: Any, boxes: Any, size: tuple[int, int], scale: tuple[int, int], least: float
) -> dict[str, DetectionResult]:
    """The findings of one picture. `scores` (names, k) and `boxes` (names, k, 4) are lists.

    Boxes are relative to `scale`, a width and height in pixels, and are cut to `size`, those of the picture. A box is told from
    the score `least` on; the best score always.
    """
    (right, bottom), (width, height) = size, scale
    found = {}
    for name, name_scores, name_boxes in zip(names, scores, boxes, strict=False):
        told = tuple(
            (min(x0 * width, right), min(y0 * height, bottom), min(x1 * width, right), min(y1 * height, bottom))
            for score, (x0, y0, x1, y1) in zip(name_scores, name_boxes, strict=True)
            if score >= least and score > 0 and x0 * width < right and y0 * height < bottom
        )
        found[name] = DetectionResult(name_scores[0], told)
    return found
