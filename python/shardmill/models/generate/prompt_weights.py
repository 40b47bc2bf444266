"""Weights in prompts: `a red (tram:1.3) passing` asks for more of the tram than of the rest.

`(words:number)` weighs its words, weights within weights multiply, `\\(` and `\\)` are brackets to be read as such. What is not
written so, like `(a detail)`, `(at 10:30)` or a bracket alone, is text: prompts come from data, and any string is one.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

LARGEST, LARGEST_PRODUCT = 3.0, 9.0
"""Above a weight of about 2 images fall apart; a larger number in brackets is a time or a score."""
MAX_NUMBER_LENGTH = 40
NUMBER_AT_END = re.compile(r":[ \t]*([0-9]{1,4}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})[ \t]*\Z")
BRACKET = re.compile(r"\\?[()]")
WORD = re.compile(r"\S")

Fragments = list[tuple[str, float]]
"""Text and its weight. Joined, the texts are the prompt without marks; neighbours differ in weight, and no text is empty."""


class _Mark(NamedTuple):
    """A part of a prompt that is a mark and not text."""

    start: int
    end: int
    kind: Literal["open", "close", "backslash"]
    factor: float = 1.0


def fragments(prompt: str) -> Fragments:
    """`a (red tram:1.3)` → `[("a ", 1.0), ("red tram", 1.3)]`."""
    found: list[tuple[list[str], float]] = []
    weights = [1.0]
    at = 0
    for mark in _marks(prompt):
        _append(found, prompt[at : mark.start], weights[-1])
        at = mark.end
        if mark.kind == "open":
            weights.append(min(weights[-1] * mark.factor, LARGEST_PRODUCT))
        elif mark.kind == "close":
            weights.pop()
    _append(found, prompt[at:], 1.0)
    return [("".join(texts), weight) for texts, weight in found]


def plain(prompt: str) -> str:
    """The prompt without weight marks: `a (red tram:1.3)` → `a red tram`."""
    return "".join(text for text, _ in fragments(prompt))


def _marks(prompt: str) -> list[_Mark]:
    """The marks of a prompt, in order."""
    marks: list[_Mark] = []
    opened: list[int] = []
    for bracket in BRACKET.finditer(prompt):
        start, end = bracket.span()
        if end - start == 2:
            marks.append(_Mark(start, start + 1, "backslash"))
        elif bracket[0] == "(":
            opened.append(start)
        elif opened:
            marks += _weighted(prompt, opened.pop(), start)
    return sorted(marks)


def _weighted(prompt: str, first: int, last: int) -> list[_Mark]:
    """The marks at the two ends of the brackets at `first` and `last`; none when they have no weight."""
    number = NUMBER_AT_END.search(prompt[max(first + 1, last - MAX_NUMBER_LENGTH) : last])
    if number is None or float(number[1]) > LARGEST:
        return []
    colon = last - len(number[0])
    if WORD.search(prompt, first + 1, colon) is None:
        return []
    return [_Mark(first, first + 1, "open", float(number[1])), _Mark(colon, last + 1, "close")]


def _append(found: list[tuple[list[str], float]], text: str, weight: float) -> None:
    if text and found and found[-1][1] == weight:
        found[-1][0].append(text)
    elif text:
        found.append(([text], weight))
