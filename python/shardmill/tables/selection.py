"""Taking a reproducible sample of an input: captions that are long enough, each once, so many of them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import polars as pl
from pydantic import BaseModel, Field

TOO_SHORT, DOUBLE, NOT_DRAWN = "too few words", "duplicate caption", "not drawn"


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


class Drawing:
    """Finds the last draw that a selection takes, over all captions of an input, eight bytes for each."""

    def __init__(self, selection: Selection):
        self._selection = selection
        self._seen = [pl.Series(dtype=pl.Int64)]

    def look(self, captions: pl.Series) -> None:
        """Take captions into account."""
        known = captions.drop_nulls()
        self._seen.append(pl.Series(self._selection.draws(known.filter(self._selection.long_enough(known))), dtype=pl.Int64))

    def selection(self) -> Selection:
        """The selection with its last draw."""
        different = pl.concat(self._seen).unique().sort()
        total = self._selection.total
        enough = total is None or len(different) <= total
        last = (int(different[-1]) if len(different) else 0) if enough else int(different[total - 1])  # type: ignore[operator]
        return self._selection.model_copy(update={"last": last})


class Sieve:
    """Lets the selected captions pass, in the order of the input; of equal ones the first."""

    def __init__(self, selection: Selection):
        self._selection = selection
        self._passed: set[int] = set()

    def verdicts(self, captions: pl.Series) -> list[str | None]:
        """None for each caption that is taken, else why not."""
        fits: Iterable[bool] = self._selection.long_enough(captions).to_list()
        if self._selection.total is None:
            return [None if long else TOO_SHORT for long in fits]
        return [
            self._verdict(draw) if long else TOO_SHORT for long, draw in zip(fits, self._selection.draws(captions), strict=True)
        ]

    def _verdict(self, draw: int) -> str | None:
        if self._selection.last is not None and draw > self._selection.last:
            return NOT_DRAWN
        if draw in self._passed:
            return DOUBLE
        self._passed.add(draw)
        return None
