"""From the scores and boxes of a whole batch to the detection results of each name, as tensors on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardmill.models.contract import DetectionResult

MAX_BOXES = 16
"""Boxes of one name that are considered, the best first."""
SAME_OBJECT = 0.5
"""Two boxes of one name with more than this IoU are one object; the better one stays."""


def best_boxes(scores: Any, boxes: Any) -> tuple[Any, Any]:
    """The best boxes of each name, one for each object.

    Args:
        scores: (rows, boxes, names) in [0, 1].
        boxes: (rows, boxes, 4) as center x, center y, width, height, relative to the image.

    Returns:
        Scores (rows, names, k) in descending order, those of suppressed boxes 0; and boxes (rows, names, k, 4) as x0, y0, x1, y1.
    """
    import torch

    top, order = scores.transpose(1, 2).topk(min(MAX_BOXES, scores.shape[1]), dim=-1)
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([center - half, center + half], dim=-1).clamp(0, 1)
    rows, names, count = order.shape
    chosen = corners.gather(1, order.reshape(rows, -1, 1).expand(-1, -1, 4)).reshape(rows, names, count, 4)
    return torch.where(_kept(chosen), top, torch.zeros_like(top)), chosen


def _kept(boxes: Any) -> Any:
    """Greedy non-maximum suppression: a mask (…, k) of the boxes (…, k, 4), best first, that stay.

    Batched over all rows and names: torchvision's `nms` takes one list at a time.
    """
    import torch

    low = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    overlaps = shared > SAME_OBJECT * (area[..., :, None] + area[..., None, :] - shared)
    kept = torch.ones(boxes.shape[:-1], dtype=torch.bool, device=boxes.device)
    for box in range(1, boxes.shape[-2]):
        kept[..., box] = ~(overlaps[..., box, :box] & kept[..., :box]).any(-1)
    return kept


def detection_results(
    names: Sequence[str], scores: Any, boxes: Any, size: tuple[int, int], scale: tuple[int, int], min_score: float
) -> dict[str, DetectionResult]:
    """The detection results of one image.

    Args:
        names: What was detected.
        scores: (names, k), best first, as lists.
        boxes: (names, k, 4) as x0, y0, x1, y1, relative to `scale`.
        size: The image's width and height in pixels, to which boxes are clipped.
        scale: The width and height in pixels that boxes are relative to.
        min_score: Boxes with a lower score are left out. The best score of a name is given even if its box is not.
    """
    (right, bottom), (width, height) = size, scale
    found = {}
    for name, name_scores, name_boxes in zip(names, scores, boxes, strict=False):
        kept_boxes = tuple(
            (min(x0 * width, right), min(y0 * height, bottom), min(x1 * width, right), min(y1 * height, bottom))
            for score, (x0, y0, x1, y1) in zip(name_scores, name_boxes, strict=True)
            if score >= min_score and score > 0 and x0 * width < right and y0 * height < bottom
        )
        found[name] = DetectionResult(name_scores[0], kept_boxes)
    return found
