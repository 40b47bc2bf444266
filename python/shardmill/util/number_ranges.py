"""Lists of numbers as people write them: `0-3,7`."""

from __future__ import annotations

from collections.abc import Iterable

MAX_NUMBERS = 1_000_000
"""A range that is longer than any run has shards is a typing error."""


def ranges_text(numbers: Iterable[int]) -> str:
    """Numbers in their shortest form.

    >>> ranges_text([7, 0, 1, 2, 9, 10])
    '0-2,7,9-10'
    """
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def parse_ranges(text: str) -> list[int]:
    """The numbers that a text names, in their order. Raises ValueError for anything else.

    >>> parse_ranges("0-2,7")
    [0, 1, 2, 7]
    """
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        start, end = int(first), int(last if dash else first)
        if not 0 <= start <= end < start + MAX_NUMBERS:
            raise ValueError(f"{piece!r} is not a range of numbers")
        found.update(range(start, end + 1))
    return sorted(found)
