"""One name for each object of a block, whether a caption says couch or sofa, doughnuts or a donut."""

from __future__ import annotations

from collections.abc import Mapping

from shardmill.language.implied import NEVER_ABSENT
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.object_names import form_problem


def canonical_names(counts: Mapping[str, int]) -> dict[str, str]:
    """The canonical name of each name that a question may be about.

    Names that differ in number, hyphens or blanks alone are one. It is called what the lexicon calls it; else as most captions
    do.

    Args:
        counts: The names as extracted, and how often each occurs.
    """
    totals: dict[str, int] = {}
    for name, count in counts.items():
        totals[fold(name)] = totals.get(fold(name), 0) + count
    best: dict[str, str] = {}
    listed: dict[str, str] = {}
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        best.setdefault(_letters(name), name)
        if (entry := lexicon().exact(name)) is not None:
            listed.setdefault(_letters(name), entry.name)
    best |= listed
    found = {name: best[_letters(fold(name))] for name in counts}
    return {name: main for name, main in found.items() if form_problem(main) is None and main not in NEVER_ABSENT}


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
