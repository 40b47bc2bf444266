"""Taking a reproducible sample of an input: captions that are long enough, each once, so many of them."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from shardmill.store.selection import Selection

TOO_SHORT, DOUBLE, NOT_DRAWN = "too few words", "duplicate caption", "not drawn"


class Drawing:
    """Finds the last draw that a selection takes, over all captions of an input, eight bytes for each."""

    def __init__(self, selection: Selection):
        self._selection = selection
        self._seen = [pl.Series(dtype=pl.Int64)]

    def add_captions(self, captions: pl.Series) -> None:
        """Add the captions of a batch."""
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
