"""Whether two counts differ by more than chance: Pearson's chi-square test of homogeneity, by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MIN_EXPECTED = 5
"""Categories with fewer expected in either run are taken together: the approximation is poor below (Cochran 1954)."""
REST = "(rare ones together)"


@dataclass(frozen=True)
class Chance:
    """A test's statistic, its degrees of freedom, and how likely so much or more is by chance."""

    statistic: float
    df: int
    p: float


def chi_square(first: Mapping[str, int], second: Mapping[str, int]) -> Chance | None:
    """Whether two tables of counts come from one distribution; None where there are no two categories to compare."""
    n, m = sum(first.values()), sum(second.values())
    if not n or not m:
        return None
    cells: dict[str, tuple[int, int]] = {}
    for name in sorted(first.keys() | second.keys()):
        one, other = first.get(name, 0), second.get(name, 0)
        if (one + other) * min(n, m) / (n + m) < MIN_EXPECTED:
            rest = cells.get(REST, (0, 0))
            cells[REST] = (rest[0] + one, rest[1] + other)
        else:
            cells[name] = (one, other)
    counts = [pair for pair in cells.values() if sum(pair)]
    if len(counts) < 2:
        return None
    statistic = 0.0
    for pair in counts:
        for seen, size in zip(pair, (n, m), strict=True):
            expected = sum(pair) * size / (n + m)
            statistic += (seen - expected) ** 2 / expected
    return Chance(statistic, len(counts) - 1, chi_square_p(statistic, len(counts) - 1))


def two_shares(found: int, n: int, other: int, m: int) -> Chance | None:
    """Whether found of n and other of m are one share: the two-proportion z test, whose square is the chi-square of the table."""
    return chi_square({"yes": found, "no": n - found}, {"yes": other, "no": m - other})


def chi_square_p(statistic: float, df: int) -> float:
    """The upper tail of the chi-square distribution, by its finite sums (Abramowitz & Stegun 26.4.4 and 26.4.5)."""
    half = statistic / 2
    if half <= 0:
        return 1.0
    odd = df % 2
    powers = [odd / 2 + step for step in range(df // 2)]
    terms = (math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers)
    return min(1.0, (math.erfc(math.sqrt(half)) if odd else 0.0) + sum(terms))
