"""Numbers of things in messages."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> count_of(1, "shard"), count_of(2000, "shard"), count_of(0, "child", "children")
    ('1 shard', '2,000 shards', '0 children')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A length of time as people write it.

    >>> duration(0.4), duration(12), duration(250), duration(12_000)
    ('under 1 s', '12 s', '4 min 10 s', '3 h 20 min')
    """
    if seconds < 1:
        return "under 1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def percent(share: float) -> str:
    """A share as people read it; a small one that is not zero keeps a digit that shows it.

    >>> percent(0.312), percent(0), percent(1), percent(0.00042), percent(0.0000001)
    ('31.2 %', '0 %', '100 %', '0.04 %', 'under 0.01 %')
    """
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share < 0.0001:
        return "under 0.01 %"
    return f"{100 * share:.2f} %" if share < 0.001 else f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """A limit as people write it, without digits that say nothing.

    >>> whole_percent(0.28), whole_percent(0.005)
    ('28 %', '0.5 %')
    """
    return f"{100 * share:.4g} %"
