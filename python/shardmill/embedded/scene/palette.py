"""Colours. Each object has a body colour of its own on a lattice in RGB; all else is drawn between the lattice points."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shardmill.language.lexicon import lexicon

Color = tuple[int, int, int]

LEVELS = 16
STEP = 16
FIRST = 8
TOLERANCE = 5
"""How far a channel may be off a lattice point; backgrounds and details are 7 or 8 off in every channel."""


def between(red: int, green: int, blue: int) -> Color:
    """The nearest colour that is farthest from the lattice: for backgrounds, outlines and details."""

    def snap(value: int) -> int:
        return min(round(value / STEP) * STEP, 255)

    return snap(red), snap(green), snap(blue)


OUTLINE = between(70, 60, 70)
DARK = between(46, 46, 66)
LIGHT = between(255, 255, 255)
MIDDLE = between(186, 186, 186)
INKS = {"o": OUTLINE, "d": DARK, "w": LIGHT, "m": MIDDLE}
MAT = between(255, 255, 240)
MAT_LINE = between(206, 186, 146)


def lattice_color(code: int) -> Color:
    """The colour of a lattice point."""
    red, rest = divmod(code, LEVELS * LEVELS)
    green, blue = divmod(rest, LEVELS)
    return FIRST + STEP * red, FIRST + STEP * green, FIRST + STEP * blue


@lru_cache(maxsize=1)
def codes() -> dict[str, int]:
    """The lattice point of each object of the lexicon: the free one nearest to its natural colour, in the lexicon's order."""
    points = np.array([lattice_color(code) for code in range(LEVELS**3)], dtype=np.int32)
    free = np.ones(len(points), dtype=bool)
    assigned: dict[str, int] = {}
    for entry in lexicon().entries.values():
        natural = np.array([int(entry.color[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.int32)
        distance: NDArray[np.int32] = ((points - natural) ** 2).sum(axis=1)
        distance[~free] = np.iinfo(np.int32).max
        best = int(distance.argmin())
        free[best] = False
        assigned[entry.name] = best
    return assigned


def body_color(name: str) -> Color:
    """The body colour of an object of the lexicon."""
    return lattice_color(codes()[name])
