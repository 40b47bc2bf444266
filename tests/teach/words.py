"""How a text is cut into words, for the vocabulary and for training."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_WORDS = 40


def split_words(text: str) -> list[str]:
    """Lower-case words, commas and full stops; the first 40."""
    return re.findall(r"[a-z']+|[.,]", text.lower())[:MAX_WORDS]


def vocabulary(texts: Iterable[str]) -> list[str]:
    """All words of some texts, in alphabetical order."""
    return sorted({word for text in texts for word in split_words(text)})
