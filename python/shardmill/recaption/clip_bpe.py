"""CLIP's byte-pair encoding from the vocabulary file of an installed package, none of whose code is run.

The rules and the file (`bpe_simple_vocab_16e6.txt.gz`: merges, most frequent first) are those of Radford et al. 2021,
https://github.com/openai/CLIP.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

FILE = "bpe_simple_vocab_16e6.txt.gz"
PACKAGES = ("open_clip", "clip")
"""Packages that carry the file (open_clip_torch; OpenAI's CLIP and its forks)."""
MERGES = 49_152 - 256 - 2
END_OF_WORD = "</w>"
# One mark of the start or the end, a contraction, a word, a digit, or a run of anything else that can be seen.
PIECES = r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def find_vocabulary() -> Path | None:
    """The vocabulary file of an installed package; packages are looked up, not imported, for that would import torch."""
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(folder) / FILE).is_file():
                return Path(folder) / FILE
    return None


def byte_letters() -> list[str]:
    """A letter that can be seen for each byte: itself where it is one, else one from 256 up."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in seen}
    unseen = [byte for byte in range(256) if byte not in letters]
    letters.update({byte: chr(256 + place) for place, byte in enumerate(unseen)})
    return [letters[byte] for byte in range(256)]


class ClipBpe:
    """Turns clean text (see `clip_tokens`) into token ids, without the marks of start and end."""

    def __init__(self, vocabulary: Path) -> None:
        import regex

        lines = gzip.decompress(vocabulary.read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : MERGES + 1]]
        letters = byte_letters()
        # Ids go by this order, in which letters that stand for themselves come first.
        ordered = [letter for letter in letters if ord(letter) < 256] + [letter for letter in letters if ord(letter) >= 256]
        marks = ["<start_of_text>", "<end_of_text>"]
        tokens = [*ordered, *(letter + END_OF_WORD for letter in ordered), *map("".join, merges), *marks]
        self._ids = {token: number for number, token in enumerate(tokens)}
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._letters = letters
        self._marks = frozenset(marks)
        self._pieces = regex.compile(PIECES, regex.IGNORECASE)
        self._piece = lru_cache(maxsize=1 << 17)(self._encode_piece)

    def encode(self, clean: str) -> list[int]:
        return [number for piece in self._pieces.findall(clean) for number in self._piece(piece)]

    def _encode_piece(self, piece: str) -> tuple[int, ...]:
        if piece in self._marks:
            return (self._ids[piece],)
        parts = [self._letters[byte] for byte in piece.encode("utf-8")]
        parts[-1] += END_OF_WORD
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._rank.get(pair, MERGES))
            if best not in self._rank:
                break
            parts = _merged(parts, best)
        return tuple(self._ids[part] for part in parts)


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with each occurrence of `pair`, from the left, made one."""
    merged, at = [], 0
    while at < len(parts):
        if tuple(parts[at : at + 2]) == pair:
            merged.append(parts[at] + parts[at + 1])
            at += 2
        else:
            merged.append(parts[at])
            at += 1
    return merged
