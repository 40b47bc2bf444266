"""Task `write_captions`: a plain sentence about a thing, a thing in a place, or two things."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.phrases import capital, patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import is_plural, with_article

_ACTING = ("person", "animal", "vehicle")
_WIDE = ("ground", "water", "cloud", "mountain")


def write_caption(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"concept", "other", "place", "max_words"} -> {"caption"}. Who acts comes first: an otter sits beside a kettle."""
    first, second = str(values["concept"]), values.get("other")
    if second and _kind(first) not in _ACTING and _kind(str(second)) in _ACTING:
        first, second = str(second), first
    how = "together" if second else "placed" if values.get("place") else "alone"
    many = is_plural(first)
    thing = with_article(first)
    words = {
        "A": capital(thing),
        "a": thing,
        "b": with_article(str(second)) if second else "",
        "place": values.get("place") or "",
        "s": "" if many else "s",
        "es": "" if many else "es",
        "is": "are" if many else "is",
        "has": "have" if many else "has",
    }
    captions = [pattern.format(**words) for pattern in patterns("scene_captions")[how][_kind(first)]]
    short = [caption for caption in captions if len(caption.split()) <= int(values["max_words"])]
    return {"caption": rng.choice(short or [min(captions, key=len)])}


def _kind(name: str) -> str:
    entry = lexicon().find(name)
    if entry is None:
        return "thing"
    if entry.category == "building" or entry.shape in _WIDE:
        return "fixture"
    return entry.category if entry.category in _ACTING and entry.number == "count" else "thing"
