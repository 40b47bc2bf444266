"""Nouns that name something physical, from `physical_nouns.txt`: far more than the lexicon has, and nothing about them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def physical_nouns() -> frozenset[str]:
    """The nouns, in the singular."""
    text = files("shardmill.language").joinpath("physical_nouns.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
