"""How certain a share is, and whether counts differ by more than chance. p values are SciPy's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

Z95 = NormalDist().inv_cdf(0.975)
"""The normal quantile of a two-sided 95 % interval."""
MIN_EXPECTED = 5
"""Categories with fewer expected in either run are merged: the chi-square approximation is poor below (Cochran 1954)."""
MERGED = "(rare ones together)"


def wilson_interval(share: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). It stays within 0 and 1 and is
    sensible where nothing was found. Written out because `n` may be a fraction, which `scipy.stats.binomtest` refuses.

    Args:
        share: The share that was seen, from 0 to 1.
        n: The number of trials, or the effective number of a weighted sample.
        z: The normal quantile of the confidence level.

    Returns:
        The lower and the upper bound; (0, 1) without trials.
    """
    if n <= 0:
        return 0.0, 1.0
    spread = z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class MeasuredShare:
    """A share of n trials, with its 95 % Wilson interval."""

    value: float
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, found: int, n: int) -> MeasuredShare:
        """The share of `found` among `n`."""
        share = found / n if n else 0.0
        return cls(share, n, *wilson_interval(share, n))


@dataclass(frozen=True)
class ChiSquareResult:
    """The statistic of a chi-square test, its degrees of freedom, and the probability of a larger one by chance."""

    statistic: float
    df: int
    p: float


def chi_square(first: Mapping[str, int], second: Mapping[str, int]) -> ChiSquareResult | None:
    """Pearson's test of homogeneity: whether two tables of counts come from one distribution.

    Args:
        first: Counts by category.
        second: Counts by category; a category that either table lacks counts as zero there.

    Returns:
        The result, or None where fewer than two categories can be compared.
    """
    from scipy.stats import chi2_contingency

    pairs = _comparable(first, second)
    if len(pairs) < 2:
        return None
    tested = chi2_contingency(list(zip(*pairs, strict=True)), correction=False)
    return ChiSquareResult(float(tested.statistic), int(tested.dof), float(tested.pvalue))


def _comparable(first: Mapping[str, int], second: Mapping[str, int]) -> list[tuple[int, int]]:
    """The counts of each category in both tables, rare categories merged into one."""
    n, m = sum(first.values()), sum(second.values())
    if not n or not m:
        return []
    cells: dict[str, tuple[int, int]] = {}
    for name in sorted(first.keys() | second.keys()):
        one, other = first.get(name, 0), second.get(name, 0)
        if (one + other) * min(n, m) / (n + m) < MIN_EXPECTED:
            name, (merged_one, merged_other) = MERGED, cells.get(MERGED, (0, 0))
            one, other = one + merged_one, other + merged_other
        cells[name] = (one, other)
    return [pair for pair in cells.values() if sum(pair)]


def two_shares(found: int, n: int, other: int, m: int) -> ChiSquareResult | None:
    """Whether `found` of `n` and `other` of `m` are one share: the two-proportion z test, whose square is this chi-square."""
    return chi_square({"yes": found, "no": n - found}, {"yes": other, "no": m - other})


def uniform_p(counts: Sequence[int]) -> float:
    """The probability that uniform categories give counts as uneven as these or more, by Pearson's chi-square; 1 of nothing."""
    from scipy.stats import chisquare

    return float(chisquare(counts).pvalue) if sum(counts) else 1.0
