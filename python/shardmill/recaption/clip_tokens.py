"""The length of a text in CLIP tokens, as open_clip counts: what is longer than 77 is cut in training.

A text is repaired (ftfy), freed of HTML entities, its white space made single, lowered, and encoded by byte pairs (Radford et al.
2021, https://github.com/openai/CLIP); the marks of start and end count.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LIMIT = 77
START, END = 49_406, 49_407
START_MARK, END_MARK = "<start_of_text>", "<end_of_text>"
MERGES = Path(__file__).with_name("clip_vocabulary.txt.gz")
END_OF_WORD = "</w>"
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""A contraction, a word, a digit, or a run of anything else that can be seen."""
NOTHING_TO_REPAIR = re.compile(r"[\x20-\x25\x27-\x7e\t\n\f\r]*\Z")
"""ASCII without controls and ampersands is left as it is by ftfy and has no entities."""


class ClipTokens:
    """CLIP's tokenizer.

    Args:
        encode_word: Gives the tokens of clean text without white space.
    """

    def __init__(self, encode_word: Callable[[str], Iterable[int]]) -> None:
        # No token spans white space, and captions repeat words: a known word costs a hundredth of an unknown one.
        self._word = lru_cache(maxsize=1 << 17)(lambda word: tuple(encode_word(word)))

    def length(self, text: str) -> int:
        """Tokens of a text with its start and end, not cut.

        >>> clip_tokens().length("A dog's bowl, 12 cm")
        10
        """
        return sum(map(len, map(self._word, clean(text).split(" ")))) + 2

    def ids(self, text: str) -> list[int]:
        """Start, tokens, end, not cut."""
        return [START, *(number for word in clean(text).split(" ") for number in self._word(word)), END]

    def batch(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """What training feeds the text encoder: [texts, 77], zeros after the end; a longer text is cut and its end forced."""
        rows = np.zeros((len(texts), LIMIT), np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.ids(text)
            row[: len(ids)] = ids if len(ids) <= LIMIT else [*ids[: LIMIT - 1], END]
        return rows


def clean(text: str) -> str:
    """The text as open_clip's tokenizer sees it (its `clean="lower"`)."""
    if not NOTHING_TO_REPAIR.match(text):
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _tokenizer() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, second in map(str.split, lines)]
    # Ids go by this order: letters that stand for their own byte come first, and each also as the end of a word.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START_MARK, END_MARK]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix=END_OF_WORD))
    pieces = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.add_special_tokens([START_MARK, END_MARK])
    return tokenizer


@lru_cache(maxsize=1)
def clip_tokens() -> ClipTokens:
    """The tokenizer with CLIP's vocabulary, made once in a process (0.3 s)."""
    tokenizer = _tokenizer()
    return ClipTokens(lambda word: tokenizer.encode(word, add_special_tokens=False).ids)
