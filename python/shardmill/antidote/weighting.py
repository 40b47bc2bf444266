"""Prompts with a weight on each object, `a red (tram:1.3) passing`: composed here, so that no model has to write the marks.

`models/generate/prompt_weights.py` says what the marks mean; its `plain` gives the texts back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shardmill.language.relations import mentions

LOWEST, HIGHEST = 1.0, 1.5
"""A prompt asks for less of a thing by not naming it, and above 1.5 the rest of an image suffers."""
BRACKET = re.compile(r"[()]")


class WeightSpan(NamedTuple):
    """Where a text names an object."""

    start: int
    end: int
    name: str


def weight_spans(text: str, names: Iterable[str]) -> list[WeightSpan]:
    """Every mention of the names, in the order of the text. Of two that overlap the longer is kept, then the earlier name."""
    found = [WeightSpan(*span, name) for name in names for span in mentions(text, name)]
    kept: list[WeightSpan] = []
    for span in sorted(found, key=lambda span: span.start - span.end):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)


def weighted_caption(caption: str, weights: Mapping[str, float]) -> str:
    """The caption with a weight on every mention of the names: `a red (tram:1.3) passing a (bakery:1.2)`."""
    pieces = []
    at = 0
    for span in weight_spans(caption, weights):
        start = span.start
        while start > at and caption[start - 1] == "\\":  # which would make text of the bracket after it
            start -= 1
        pieces += [_text(caption[at:start]), _weighted(caption[start : span.end], weights[span.name])]
        at = span.end
    return "".join([*pieces, _text(caption[at:])])


def negative_prompt(weights: Mapping[str, float]) -> str:
    """The names by weight, the largest first: `(umbrella:1.2), (traffic light:1.1)`."""
    heaviest_first = sorted(weights, key=lambda name: -weights[name])
    return ", ".join(_weighted(name, weights[name]) for name in heaviest_first)


def in_range(weight: float) -> float:
    """The nearest weight that is used, to one decimal."""
    return round(min(max(weight, LOWEST), HIGHEST), 1)


def _weighted(text: str, weight: float) -> str:
    return f"({_text(text)}:{weight:.1f})"


def _text(text: str) -> str:
    return BRACKET.sub(r"\\\g<0>", text)
