"""What ticks say is told for the whole dataset, with intervals that hold what they promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from audited import sample_of, sheet_file, sheet_text
from shardmill.audit.result import load_result, save_result, summarize_sheets
from shardmill.audit.sample import AuditSample, SampledStatement
from shardmill.audit.sheet import Sheet, Tick, read_sheet
from shardmill.util.errors import UserError


@pytest.fixture
def drawn() -> AuditSample:
    return sample_of([900, 100], [10, 10], claims_each=2)


def ticked(sample: AuditSample, verdict: Callable[[SampledStatement], str], name: str = "ann") -> Sheet:
    ticks = {each.claim_id: Tick(said, "") for each in sample.claims if (said := verdict(each))}
    return Sheet(Path(f"{name}.csv"), name, ticks)


def test_rates_are_weighted_back_to_the_dataset() -> None:
    sample = sample_of([900, 100], [10, 10])
    result = summarize_sheets(sample, [ticked(sample, lambda each: "wrong" if each.stratum == 1 else "right")])
    assert (result.overall.right, result.overall.wrong) == (10, 10)
    assert result.overall.error_rate == pytest.approx(0.1)
    assert result.overall.low < 0.1 < result.overall.high


def test_unclear_and_open_statements_are_counted_apart_and_in_no_rate() -> None:
    sample = sample_of([50], [10])
    words = ["right"] * 4 + ["wrong"] * 2 + ["unclear"] * 3 + [""]
    rate = summarize_sheets(sample, [ticked(sample, lambda each: words[each.unit])]).kinds[0]
    assert (rate.right, rate.wrong, rate.disputed, rate.unclear, rate.open) == (4, 2, 0, 3, 1)
    assert rate.error_rate == pytest.approx(2 / 6)


def test_with_even_weights_and_a_statement_per_row_the_interval_is_wilsons() -> None:
    sample = sample_of([20_000], [263])
    rate = summarize_sheets(sample, [ticked(sample, lambda each: "wrong" if each.unit < 81 else "right")]).overall
    assert (rate.low, rate.high) == (pytest.approx(0.2553, abs=4e-4), pytest.approx(0.3662, abs=4e-4))


def test_a_stratum_of_which_nothing_was_judged_is_named() -> None:
    sample = sample_of([900, 100], [10, 10])
    result = summarize_sheets(sample, [ticked(sample, lambda each: "right" if each.stratum == 0 else "")])
    assert result.unseen == {"o: 1": 100}
    nothing = summarize_sheets(sample, [ticked(sample, lambda each: "")])
    assert (nothing.overall.error_rate, nothing.overall.low, nothing.overall.high) == (None, 0, 1)


def test_the_interval_holds_the_truth_though_the_statements_of_a_row_are_wrong_together() -> None:
    """1,000 rows of four statements each: 20 % are wrong, all four at once; a rare stratum is worse, drawn as often."""
    rng = random.Random(5)
    truth = (900 * 0.15 + 100 * 0.65) / 1_000
    sample = sample_of([900, 100], [60, 60], claims_each=4)
    held = 0
    for _ in range(300):
        bad = {each.unit: rng.random() < (0.65 if each.stratum else 0.15) for each in sample.claims}
        rate = summarize_sheets(sample, [ticked(sample, lambda each, bad=bad: "wrong" if bad[each.unit] else "right")]).overall  # type: ignore[misc]
        held += rate.low <= truth <= rate.high
        assert rate.worth < len(sample.claims) / 2
    assert held / 300 > 0.92


def test_two_sheets_agree_by_cohen_and_more_by_fleiss_on_what_all_judged() -> None:
    sample = sample_of([100], [6])
    first = ticked(sample, lambda each: ["right", "right", "wrong", "wrong", "right", ""][each.unit], "ann")
    second = ticked(sample, lambda each: ["right", "wrong", "wrong", "wrong", "right", "right"][each.unit], "bob")
    two = summarize_sheets(sample, [first, second])
    assert two.agreement is not None
    assert (two.agreement.method, two.agreement.claims) == ("Cohen's kappa", 5)
    assert two.agreement.kappa == pytest.approx((0.8 - 12 / 25) / (1 - 12 / 25))
    assert [each.verdicts for each in two.disagreements] == [{"ann": "right", "bob": "wrong"}]
    assert (two.overall.right, two.overall.wrong, two.overall.disputed) == (3, 2, 1)
    assert two.overall.error_rate == pytest.approx(2.5 / 6)  # between the rates of the two

    third = ticked(sample, lambda each: "right", "cy")
    three = summarize_sheets(sample, [first, second, third])
    assert three.agreement is not None and three.agreement.method == "Fleiss' kappa"
    assert three.agreement.claims == 5
    assert (three.overall.right, three.overall.wrong, three.overall.disputed) == (4, 2, 0)


def test_the_same_sheet_twice_is_no_agreement(drawn: AuditSample, tmp_path: Path) -> None:
    path = sheet_file(tmp_path / "s.csv", sheet_text(drawn, lambda at: "right"))
    sheets = [read_sheet(each, drawn) for each in (path, tmp_path / "." / "s.csv")]
    with pytest.raises(UserError, match="the same sheet was given twice"):
        summarize_sheets(drawn, sheets)


def test_people_of_one_name_are_told_apart_by_their_files() -> None:
    sample = sample_of([9], [2])
    sheets = [Sheet(Path(f"{name}.csv"), "ann", {"s0000000000-0000-00": Tick("right", "")}) for name in "ab"]
    assert [each.annotator for each in summarize_sheets(sample, sheets).sheets] == ["ann (a.csv)", "ann (b.csv)"]


def test_the_result_is_kept_for_the_report(drawn: AuditSample, tmp_path: Path) -> None:
    assert load_result(tmp_path) is None
    result = summarize_sheets(drawn, [ticked(drawn, lambda each: "right")])
    save_result(result, tmp_path)
    assert load_result(tmp_path) == result
