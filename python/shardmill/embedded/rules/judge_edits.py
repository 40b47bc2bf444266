"""Task `judge_instructions`: what is wrong with an instruction for an image editor, by rules."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from shardmill.language.appearance import COLORS, VAGUE, has_word, words_of

_BROKEN = re.compile(
    r"\b(?:a|an|the|of|and|with|beside|from) ?(?:[.,]|$)|\b(\w+) \1\b|"
    r"\b(?:a|an|the) (?:a|an|the|and|is)\b|"
    r"\b(?:with|of|in|on|at|by) (?:and|is|are|of)\b|\ba [aeio]\w|\ban [bcdfgjklmnpqrstvwxyz]\w|^(?:and|with|of|,)",
    re.IGNORECASE,
)
_TAKES = ("remove", "erase", "delete", "take out", "get rid")
_PUTS = ("add", "place", "include", "put", "insert")


def judge_instruction(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"type", "input", "edit", "output"} -> {"verdict"}. Nothing in it is random."""
    kind, edit, output = (str(values[name]) for name in ("type", "edit", "output"))
    if _is_other(kind, edit.lower()):
        return {"verdict": "other type"}
    if has_word(edit, VAGUE - {"good", "other", "another", "new"}) and "quoted" not in kind and "text" not in kind:
        return {"verdict": "vague"}
    if _is_broken(edit) or (_is_broken(output) and not _is_broken(str(values["input"]))):
        return {"verdict": "bad English"}
    return {"verdict": "pass"}


def _is_other(kind: str, edit: str) -> bool:
    takes, puts = edit.startswith(_TAKES), edit.startswith(_PUTS)
    colors = any(word in COLORS for word in words_of(edit))
    if kind.startswith("adding"):
        return takes
    if kind.startswith("removing"):
        return puts or " put " in edit or " add " in edit
    return takes or (puts and "text" not in kind) or ("looks" in kind and colors and " color " in edit)


def _is_broken(text: str) -> bool:
    """Whether a text has words twice in a row, words that lead nowhere, or the wrong article."""
    return _BROKEN.search(re.sub(r"'[^']*'", "x", text.strip()).rstrip(" .!") + "\n") is not None
