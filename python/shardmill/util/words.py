"""Numbers of things in messages."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> count_of(1, "shard"), count_of(2000, "shard"), count_of(0, "child", "children")
    ('1 shard', '2,000 shards', '0 children')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
