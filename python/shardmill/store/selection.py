"""Which records of an input a run takes, as its plan says."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    import polars as pl


class Selection(BaseModel):
    """Which records are taken. `last` is the largest draw that is: a caption's draw comes from the seed and its text alone."""

    min_words: int = Field(default=1, ge=1)
    total: int | None = Field(default=None, ge=1)
    seed: int = 0
    last: int | None = None

    def draws(self, captions: pl.Series) -> list[int]:
        """The draw of each caption, a number below 2^63."""
        key = str(self.seed).encode()
        return [
            int.from_bytes(blake2b(caption.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest(), "big") >> 1
            for caption in captions
        ]

    def long_enough(self, captions: pl.Series) -> pl.Series:
        """Which captions have enough words."""
        return captions.str.count_matches(r"\S+") >= self.min_words
