"""Untrusted text, made visible and short for a page or a terminal."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, those that change the direction of writing, other invisible ones, and lone surrogates."""


def shown_text(text: str) -> str:
    """The text with each character that is invisible, or reorders its neighbours, as its number: ⟨U+202E⟩."""
    return UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def shortened(text: str, limit: int) -> str:
    """The beginning of a text on one line, at most `limit` characters."""
    line = shown_text(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
