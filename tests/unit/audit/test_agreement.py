"""Kappas are those that the papers which introduced them, or textbooks, work out by hand."""

from __future__ import annotations

import pytest

from shardmill.audit.agreement import cohen_kappa, fleiss_kappa, raw_agreement


def test_cohens_kappa_is_that_of_his_paper() -> None:
    """The table of diagnoses of Cohen (1960), in 200 cases: .70 agree, .41 by chance, so kappa is .29 / .59."""
    table = {"a": {"a": 88, "b": 14, "c": 18}, "b": {"a": 10, "b": 40, "c": 10}, "c": {"a": 2, "b": 6, "c": 12}}
    pairs = [(one, other) for one, row in table.items() for other, count in row.items() for _ in range(count)]
    assert cohen_kappa([one for one, _ in pairs], [other for _, other in pairs]) == pytest.approx(0.29 / 0.59)
    assert raw_agreement(pairs) == pytest.approx(0.7)


def test_cohens_kappa_of_two_is_not_that_of_fleiss_who_gives_both_one_chance() -> None:
    first, second = list("aaaab"), list("abbbb")
    assert cohen_kappa(first, second) == pytest.approx((0.4 - 0.32) / 0.68)
    assert fleiss_kappa(list(zip(first, second, strict=True))) == pytest.approx((0.4 - 0.5) / 0.5)


def test_fleiss_kappa_is_that_of_the_worked_example_with_14_raters() -> None:
    """The table that textbooks and Wikipedia ("Fleiss' kappa", worked example) use: kappa 0.210."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    ratings = [[str(category) for category, count in enumerate(row) for _ in range(count)] for row in counts]
    assert raw_agreement(ratings) == pytest.approx(0.378, abs=5e-4)
    assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)


def test_perfect_agreement_is_one_and_agreement_on_a_single_category_is_not_defined() -> None:
    assert cohen_kappa(["right", "wrong"], ["right", "wrong"]) == 1
    assert fleiss_kappa([["right"] * 3, ["wrong"] * 3]) == 1
    assert cohen_kappa(["right", "right"], ["right", "right"]) is None
    assert fleiss_kappa([["right"] * 3, ["right"] * 3]) is None
    assert cohen_kappa([], []) is None
    assert fleiss_kappa([]) is None


def test_ratings_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="2 ratings of one, 1 of the other"):
        cohen_kappa(["right", "wrong"], ["right"])
    with pytest.raises(ValueError, match="things with 2 and 3 ratings"):
        fleiss_kappa([["right"] * 2, ["wrong"] * 3])
