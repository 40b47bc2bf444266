"""The detector of scenes: which objects a scene image shows, where, and with what score, from its pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardmill.embedded.scene.palette import FIRST, LEVELS, MAT, STEP, TOLERANCE, codes
from shardmill.language.lexicon import LexiconEntry, lexicon

Box = tuple[float, float, float, float]
Codes = NDArray[np.int32]
MIN_AREA = 8
MAT_TOLERANCE = 12
GAP = 7
"""Instances of one object are separate if so many empty columns or rows lie between them."""


def _levels() -> NDArray[np.int32]:
    values = np.arange(256)
    nearest = np.rint((values - FIRST) / STEP).astype(np.int32)
    off = np.abs(values - (nearest * STEP + FIRST)) > TOLERANCE
    nearest[off | (nearest < 0) | (nearest >= LEVELS)] = -1
    return nearest


LEVEL_OF = _levels()
"""The lattice level of each channel value; -1 between the levels."""


class NotAScene(ValueError):
    """The image was not drawn by `scene`."""


@dataclass(frozen=True)
class FoundObject:
    """The best score of a name in [0, 1], and a box (x0, y0, x1, y1) in pixels for each instance."""

    score: float
    boxes: tuple[Box, ...] = ()


def detect_objects(
    image: Image.Image, names: Sequence[str], miss_rate: float = 0.0, false_alarm_rate: float = 0.0, seed: int = 0
) -> dict[str, FoundObject]:
    """Detect objects in a scene image, each name independently of the others.

    Args:
        image: A scene image.
        names: Objects of the lexicon, or kinds of objects; a name that the lexicon does not know scores 0.
        miss_rate: The share of visible names that is reported as absent.
        false_alarm_rate: The share of absent names that is reported as visible.
        seed: Decides, with the image and the name, where errors are made.

    Raises:
        NotAScene: If the image was not drawn by `scene`.
    """
    pixels = np.asarray(image.convert("RGB"))
    require_scene(pixels)
    areas = flat_codes(pixels)
    counts = np.bincount(areas[areas >= 0], minlength=1)
    present = {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    digest = blake2b(pixels.tobytes(), digest_size=8).hexdigest()
    height, width = areas.shape
    results = {}
    for name in names:
        rng = Random(f"{digest} {name} {seed}")
        result = _detect_one(areas, present, name, rng)
        error = rng.random()
        if result.boxes and error < miss_rate:
            result = FoundObject(round(rng.uniform(0.0, 0.08), 4))
        elif not result.boxes and error < false_alarm_rate:
            result = FoundObject(round(rng.uniform(0.3, 0.7), 4), (_made_up_box(rng, width, height),))
        results[name] = result
    return results


def require_scene(pixels: NDArray[np.uint8]) -> None:
    """Raise NotAScene unless the image has the frame of a scene, and is not all frame."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if min(pixels.shape[:2]) < 32 or _mat_share(border) < 0.95 or _mat_share(pixels[8:-8:4, 8:-8:4].reshape(-1, 3)) > 0.9:
        raise NotAScene("not an image drawn by scene")


def _mat_share(pixels: NDArray[np.uint8]) -> float:
    off = np.abs(pixels.astype(np.int16) - np.array(MAT, dtype=np.int16))
    return float((off <= MAT_TOLERANCE).all(axis=1).mean())


def flat_codes(pixels: NDArray[np.uint8]) -> Codes:
    """The lattice point (height, width) of each pixel that shares it with its four neighbours, else -1 (edges, gradients)."""
    levels = LEVEL_OF[pixels]
    code = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    code[(levels < 0).any(axis=2)] = -1
    flat = np.full_like(code, -1)
    middle = code[1:-1, 1:-1]
    same = (middle == code[:-2, 1:-1]) & (middle == code[2:, 1:-1]) & (middle == code[1:-1, :-2]) & (middle == code[1:-1, 2:])
    flat[1:-1, 1:-1] = np.where(same, middle, -1)
    return flat


@lru_cache(maxsize=4_096)
def wanted_codes(name: str) -> tuple[int, ...]:
    """The lattice points that count as the name: its own, and those of all its kinds."""
    known = lexicon()
    entry = known.find(name)
    if entry is None:
        return ()
    return tuple(codes()[other.name] for other in known.entries.values() if other is entry or _is_a(other, entry))


def _is_a(entry: LexiconEntry, kind: LexiconEntry) -> bool:
    return kind.name in lexicon().kinds(entry)


def _detect_one(areas: Codes, present: dict[int, int], name: str, rng: Random) -> FoundObject:
    seen = [code for code in wanted_codes(name) if present.get(code, 0) >= MIN_AREA]
    if not seen:
        return FoundObject(round(rng.uniform(0.0, 0.08), 4) if wanted_codes(name) else 0.0)
    boxes = [box for code in seen for box in instances(areas == code)]
    largest = max(present[code] for code in seen)
    return FoundObject(round(0.6 + 0.35 * min(1.0, largest / 600) + rng.uniform(0.0, 0.04), 4), tuple(boxes))


def instances(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes of the separate blobs of a mask, by cutting at empty columns and rows in turn."""
    boxes: list[Box] = []
    pending = [(0, 0, mask.shape[1], mask.shape[0])]
    while pending:
        x0, y0, x1, y1 = pending.pop()
        columns = _runs(mask[y0:y1, x0:x1].any(axis=0))
        rows = [(a, b, _runs(mask[y0:y1, x0 + a : x0 + b].any(axis=1))) for a, b in columns]
        if len(columns) == 1 and len(rows[0][2]) == 1:
            (left, right), (top, bottom) = columns[0], rows[0][2][0]
            area = mask[y0 + top : y0 + bottom, x0 + left : x0 + right].sum()
            if area >= MIN_AREA:
                boxes.append((float(x0 + left - 1), float(y0 + top - 1), float(x0 + right + 1), float(y0 + bottom + 1)))
        else:
            pending += [(x0 + a, y0 + top, x0 + b, y0 + bottom) for a, b, spans in rows for top, bottom in spans]
    return sorted(boxes)


def _runs(line: Any) -> list[tuple[int, int]]:
    """The stretches of a line that are set, joining those with gaps under `GAP`."""
    indices = np.flatnonzero(line)
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) > GAP)
    starts = [int(indices[0]), *(int(indices[at + 1]) for at in breaks)]
    ends = [*(int(indices[at]) + 1 for at in breaks), int(indices[-1]) + 1]
    return list(zip(starts, ends, strict=True))


def _made_up_box(rng: Random, width: int, height: int) -> Box:
    x, y = rng.uniform(0, width * 0.7), rng.uniform(0, height * 0.7)
    return round(x, 1), round(y, 1), round(x + width * 0.2, 1), round(y + height * 0.2, 1)
