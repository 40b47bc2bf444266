"""The shapes that objects are drawn with; `shapes.yaml` says how they are written."""

from __future__ import annotations

from pathlib import Path

import yaml

Stroke = tuple[str, str, tuple[float, ...]]
DEFAULT = "box"


def _parse(stroke: str) -> Stroke:
    kind, ink, *numbers = stroke.split()
    return kind, ink, tuple(float(number) / 100 for number in numbers)


def _load() -> dict[str, tuple[Stroke, ...]]:
    shapes = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {name: tuple(map(_parse, strokes)) for name, strokes in shapes.items()}


SHAPES = _load()
"""Strokes (kind, ink, numbers over the unit square) by shape."""
