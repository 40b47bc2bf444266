"""Intervals and tests give what papers and textbooks work out, and what SciPy gives."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from scipy.stats import binomtest

from shardmill.quality.significance import chi_square, two_shares, wilson_interval


@pytest.mark.parametrize(
    ("found", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_is_that_of_newcombe_1998(found: int, n: int, low: float, high: float) -> None:
    """Table I (method 3) of "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17."""
    assert wilson_interval(found / n, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_wilson_interval_of_nothing_is_everything_and_it_never_leaves_the_shares() -> None:
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(1, 3)[1] == 1
    assert wilson_interval(0, 3)[0] == 0
    assert wilson_interval(0.3, 40.5) > wilson_interval(0.3, 40)


@pytest.mark.parametrize(("found", "n"), [(0, 7), (3, 7), (500, 1_000), (1_000, 1_000)])
def test_the_wilson_interval_of_whole_numbers_is_that_of_scipy(found: int, n: int) -> None:
    theirs = binomtest(found, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(found / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_two_shares_are_compared_as_in_the_aspirin_study() -> None:
    """Heart attacks in the Physicians' Health Study, 189 of 11,034 against 104 of 11,037: chi-square 25.01 (Agresti,
    "Categorical Data Analysis")."""
    found = two_shares(189, 11_034, 104, 11_037)
    assert found is not None and found.df == 1
    assert found.statistic == pytest.approx(25.01, abs=0.005)
    assert found.p == pytest.approx(5.7e-7, rel=0.02)


def test_a_table_in_proportion_has_no_difference_and_rare_categories_are_one() -> None:
    assert chi_square({"a": 30, "b": 60}, {"a": 300, "b": 600}) == chi_square({"a": 1_000, "b": 2_000}, {"a": 1_000, "b": 2_000})
    rare = {f"word {index}": 1 for index in range(30)}
    found = chi_square({"a": 500, **rare}, {"a": 500, **{f"other {index}": 1 for index in range(30)}})
    assert found is not None and found.df == 1 and found.p > 0.9
    assert chi_square({"a": 5}, {"a": 900}) is None
    assert chi_square({}, {"a": 9, "b": 9}) is None


def test_chance_is_called_chance() -> None:
    """Of 500 pairs of samples of one distribution, about 5 % are called different at 0.05."""
    rng = random.Random(3)
    low = 0
    for _ in range(500):
        pair = [Counter(rng.choices("abcd", [4, 3, 2, 1], k=200)) for _ in range(2)]
        found = chi_square(*pair)
        assert found is not None
        low += found.p < 0.05
    assert 10 <= low <= 42
