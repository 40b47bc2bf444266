"""How sure a share is, and how far people agree who judged the same things."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Z95 = 1.959964
"""The normal quantile of a two-sided 95 % interval."""


def wilson_interval(share: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a share seen in n trials, or in as many as a weighted sample is worth.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927); it stays within 0 and 1 and
    says something sensible where nothing was found. Without trials nothing is known: (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    spread = z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def raw_agreement(ratings: Sequence[Sequence[str]]) -> float | None:
    """The share of pairs of raters that gave a thing the same category; one sequence of ratings per thing. None without pairs."""
    shares = [_agreeing_pairs(Counter(each), len(each)) for each in ratings if len(each) > 1]
    return sum(shares) / len(shares) if shares else None


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement of two raters beyond chance, each with a chance of its own: Cohen, "A coefficient of agreement for nominal
    scales", Educational and Psychological Measurement 20 (1960).

    1 is perfect, 0 is what chance gives. None where it is not defined: nothing was rated, or both always said the same one thing.
    """
    n = len(first)
    if len(second) != n:
        raise ValueError(f"{n} ratings of one, {len(second)} of the other")
    if n == 0:
        return None
    observed = sum(one == other for one, other in zip(first, second, strict=True)) / n
    counts, others = Counter(first), Counter(second)
    return _beyond(observed, sum(counts[each] * others[each] for each in counts) / (n * n))


def fleiss_kappa(ratings: Sequence[Sequence[str]]) -> float | None:
    """Agreement of several raters beyond chance: Fleiss, "Measuring nominal scale agreement among many raters", Psychological
    Bulletin 76 (1971). One sequence per thing, each with equally many ratings; which rater gave which does not matter.
    """
    raters = {len(each) for each in ratings}
    if len(raters) > 1:
        raise ValueError(f"things with {' and '.join(map(str, sorted(raters)))} ratings")
    observed = raw_agreement(ratings)
    if observed is None:
        return None
    counts = Counter(category for each in ratings for category in each)
    total = counts.total()
    return _beyond(observed, sum((count / total) ** 2 for count in counts.values()))


def _agreeing_pairs(counts: Counter[str], raters: int) -> float:
    return sum(count * (count - 1) for count in counts.values()) / (raters * (raters - 1))


def _beyond(observed: float, chance: float) -> float | None:
    return None if chance >= 1 else (observed - chance) / (1 - chance)
