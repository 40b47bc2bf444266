"""The length of a text in CLIP tokens, as open_clip counts: what is longer than 77 is cut in training.

A text is mended (ftfy), freed of HTML entities, its white space made single, lowered, and encoded by byte pairs; the marks of
start and end count. Where the vocabulary or ftfy is not installed, only a lower bound can be told, and is called one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from shardmill.recaption.clip_bpe import ClipBpe, find_vocabulary
from shardmill.util.errors import UserError

LIMIT = 77
START, END = 49_406, 49_407
INSTALL = 'pip install "shardmill[clip]"'
NOTHING_TO_MEND = re.compile(r"[\x20-\x25\x27-\x7e\t\n\f\r]*\Z")
"""ASCII without controls and ampersands is left as it is by ftfy and has no entities."""
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
SEEN = re.compile(r"[a-z0-9]")
MARKS = re.compile("<start_of_text>|<end_of_text>")


class ClipTokens:
    """A tokenizer, or a lower bound where `encode` is None. `source` names what it comes from; `exact` tells which it is."""

    def __init__(self, encode: Callable[[str], Iterable[int]] | None, source: str) -> None:
        self._encode = encode
        self.source = source

    @property
    def exact(self) -> bool:
        return self._encode is not None

    def length(self, text: str) -> int:
        """Tokens of a text with its start and end, not cut; at least so many where this is not `exact`.

        >>> ClipTokens(None, "a bound").length("A dog's bowl, 12 cm")
        10
        """
        if self._encode is None:
            return _least(text) + 2
        return len(list(self._encode(clean(text)))) + 2

    def ids(self, text: str) -> list[int]:
        """Start, tokens, end, not cut. Raises UserError where there is no vocabulary."""
        if self._encode is None:
            raise UserError(f"There is no CLIP vocabulary here. Install it: {INSTALL}")
        return [START, *self._encode(clean(text)), END]

    def batch(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """What training feeds the text encoder: [texts, 77], zeros behind the end; a longer text is cut and its end forced."""
        rows = np.zeros((len(texts), LIMIT), np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.ids(text)
            row[: len(ids)] = ids if len(ids) <= LIMIT else [*ids[: LIMIT - 1], END]
        return rows


def clean(text: str) -> str:
    """The text as open_clip's tokenizer sees it (its `clean="lower"`). Needs ftfy for texts that are not plain ASCII."""
    if not NOTHING_TO_MEND.match(text):
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _least(text: str) -> int:
    """No more than the tokens of the text: each piece is at least one. Where ftfy might join pieces, only words are counted."""
    if NOTHING_TO_MEND.match(text):
        return len(PIECES.findall(MARKS.sub(".", " ".join(text.split()).lower())))
    return sum(1 for word in html.unescape(html.unescape(text)).lower().split() if SEEN.search(word))


@lru_cache(maxsize=1)
def clip_tokens() -> ClipTokens:
    """The best there is in this environment: instant-clip-tokenizer, the vocabulary of another package, or a lower bound."""
    if find_spec("ftfy"):
        if find_spec("instant_clip_tokenizer"):
            from instant_clip_tokenizer import Tokenizer

            return ClipTokens(Tokenizer().encode, "instant-clip-tokenizer")
        vocabulary = find_vocabulary()
        if vocabulary:
            return ClipTokens(ClipBpe(vocabulary).encode, str(vocabulary))
    return ClipTokens(None, f"words and punctuation, since no CLIP vocabulary is installed ({INSTALL})")
