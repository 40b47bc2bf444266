"""The entries of a foreign file of captions one by one, as tests compare them."""

from __future__ import annotations

from collections.abc import Iterator

from shardmill.recaption.foreign import Entry, ForeignCaptions, Oddity


def entries_of(file: ForeignCaptions) -> Iterator[Entry | Oddity]:
    for found in file.batches():
        if isinstance(found, Oddity):
            yield found
        else:
            yield from zip(found.images, found.texts, strict=True)
