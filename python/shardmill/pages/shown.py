"""Text that nobody has vouched for, as a page may show it."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, those that turn the direction of writing, other invisible ones, halves of characters."""


def shown_text(text: str) -> str:
    """The text with each character that would not be seen, or would turn its neighbours around, by number: ⟨U+202E⟩."""
    return UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def shortened(text: str, most: int) -> str:
    """The beginning of a text on one line, at most so many characters."""
    line = shown_text(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
