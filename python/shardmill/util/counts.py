"""Numbers with their nouns, for messages."""

from __future__ import annotations


def count_noun(count: int, noun: str) -> str:
    """A count with its noun, in the plural unless it is one.

    >>> count_noun(1, "shard"), count_noun(2_000, "shard")
    ('1 shard', '2,000 shards')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
