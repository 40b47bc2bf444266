"""The entries of a foreign file of captions one by one, as tests compare them."""

from __future__ import annotations

from collections.abc import Iterator

from shardmill.recaption.foreign import Entry, ForeignCaptions, InputWarning


def entries_of(file: ForeignCaptions) -> Iterator[Entry | InputWarning]:
    for found in file.batches():
        if isinstance(found, InputWarning):
            yield found
        else:
            yield from zip(found.images, found.texts, strict=True)
