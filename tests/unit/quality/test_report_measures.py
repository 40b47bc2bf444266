"""Measures of streaming rows: exact while there are few, fair when there are many, and the same however rows come in batches."""

from __future__ import annotations

import json
import math
from collections import Counter
from random import Random

import numpy as np
import polars as pl
import pytest

from shardmill.quality.figures import compression, distinct_n, gini
from shardmill.quality.judging import judged, verdict_on
from shardmill.quality.measures import Histogram, ValueTally
from shardmill.quality.repeats import Repeats
from shardmill.quality.rules import NEVER, at_least, at_most
from shardmill.quality.sampling import RowSample
from shardmill.quality.separable import LabelledText, separability
from shardmill.quality.significance import uniform_p
from shardmill.quality.text_patterns import skeleton
from shardmill.util.words import percent


def batches(frame: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    return [frame.slice(start, size) for start in range(0, frame.height, size)]


ROWS = pl.DataFrame({"row_id": range(20_000), "text": [f"text {row}" for row in range(20_000)]})


@pytest.mark.parametrize("size", [1, 7, 500, 1_000_000])
def test_a_sample_is_the_same_however_the_rows_come(size: int) -> None:
    rows = ROWS.head(2_000) if size == 1 else ROWS
    whole, pieces = RowSample(50, ("text",), 3), RowSample(50, ("text",), 3)
    whole.add_batch(rows)
    for batch in batches(rows.sample(fraction=1.0, shuffle=True, seed=1), size):
        pieces.add_batch(batch)
    assert whole.frame() is not None and whole.frame().height == 50  # type: ignore[union-attr]
    assert whole.frame().equals(pieces.frame())  # type: ignore[union-attr, arg-type]


def test_a_sample_is_even_and_depends_on_its_seed() -> None:
    drawn = []
    for seed in range(2):
        sample = RowSample(4_000, (), seed)
        sample.add_batch(ROWS)
        drawn.append(set(sample.frame()["row_id"]))  # type: ignore[index]
    assert len(drawn[0]) == 4_000 and 500 < len(drawn[0] & drawn[1]) < 1_100  # 800 by chance
    halves = sum(row < 10_000 for row in drawn[0])
    assert 1_850 < halves < 2_150


def test_all_lines_of_a_sampled_row_are_in_the_sample() -> None:
    lines = pl.DataFrame({"row_id": [row for row in range(1_000) for _ in range(3)], "sub_id": [0, 1, 2] * 1_000})
    sample = RowSample(10, (), 0)
    for batch in batches(lines, 100):  # rows are cut by the batches
        sample.add_batch(batch)
    frame = sample.frame()
    assert frame is not None
    assert frame["row_id"].value_counts()["count"].to_list() == [3] * 10


def test_a_tally_counts_every_value_once_and_ties_go_by_name() -> None:
    values = [*"abcabcaba", None, "c"]
    tally = ValueTally()
    for value in values:
        tally.add_values(pl.Series([value], dtype=pl.String))
    assert tally.most_common() == [("a", 4), ("b", 3), ("c", 3)]
    assert (tally.total, tally.distinct, tally.dropped) == (10, 3, 0)
    assert tally.counts().tolist() == [4, 3, 3]


def test_a_tally_of_too_many_values_keeps_the_common_ones() -> None:
    rng = Random(0)
    tally, truth = ValueTally(limit=200), Counter[str]()
    for _ in range(40):
        values = [f"common {rng.randrange(50)}" if rng.random() < 0.5 else f"rare {rng.random()}" for _ in range(500)]
        truth.update(values)
        tally.add_values(pl.Series(values))
    assert tally.distinct <= 400 and tally.total == 20_000 and tally.dropped > 0
    assert {name for name, _ in tally.most_common(50)} == {name for name, _ in truth.most_common(50)}
    assert all(count == truth[name] for name, count in tally.most_common(50))


def test_copies_are_texts_that_differ_in_case_and_blanks_only() -> None:
    repeats = Repeats()
    texts = ["A dog.", "a  dog.", "A cat.", None, "A DOG. "]
    for row, text in enumerate(texts):
        repeats.add_texts(pl.Series([row]), pl.Series([text], dtype=pl.String))
    assert (repeats.total, repeats.copies, repeats.is_exact) == (4, 2, True)
    (most,) = repeats.most_common(5)
    assert (most.times, most.rows) == (3, (0, 4))
    assert most.text.lower().split() == ["a", "dog."]


@pytest.mark.parametrize("heavy_from", [0, 60_000])
def test_copies_among_very_many_texts_are_estimated_with_the_common_ones_in_full(heavy_from: int) -> None:
    """Of 100,000 texts one in five repeats another, and one text comes every tenth time from somewhere on."""
    texts = []
    for row in range(100_000):
        own = row if row % 5 else row // 2
        texts.append("the one" if row >= heavy_from and row % 10 == 3 else f"text {own}")
    repeats = Repeats(limit=4_000)
    for start in range(0, len(texts), 5_000):
        repeats.add_texts(pl.Series(range(start, start + 5_000)), pl.Series(texts[start : start + 5_000]))
    truth = len(texts) - len(set(texts))
    assert not repeats.is_exact
    assert repeats.total == len(texts)
    assert abs(repeats.copies - truth) < 0.02 * len(texts)
    assert (repeats.most_common(1)[0].text, repeats.most_common(1)[0].times) == ("the one", texts.count("the one"))


def test_a_histogram_counts_what_is_beyond_in_its_outer_bins() -> None:
    histogram = Histogram(0, 10, 5)
    histogram.add_numbers([0, 1.9, 2, 9.99, 10, 55, -3])
    histogram.add_numbers(pl.Series([None, float("nan"), 4.0]))
    assert histogram.counts.tolist() == [3, 1, 1, 0, 3]
    assert (histogram.n, histogram.highest) == (8, 55)
    assert histogram.series("x").x == [0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(("counts", "expected"), [([5, 5, 5], 0.0), ([0, 0, 0, 1], 0.75), ([1, 2, 3, 4], 0.25), ([], 0.0)])
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(counts) == pytest.approx(expected)
    assert gini(np.array(counts[::-1])) == pytest.approx(expected)


def test_the_chance_of_counts_is_that_of_the_chi_square_table() -> None:
    """7.815 and 16.266 are the values of 3 degrees of freedom for 5 % and 0.1 %."""
    for x, p in ((7.815, 0.05), (16.266, 0.001)):
        spread = math.sqrt(x * 1_000 / 4)  # two counts off by so much, on each side, around 1,000
        counts = [1_000 + spread, 1_000 + spread, 1_000 - spread, 1_000 - spread]
        assert uniform_p(counts) == pytest.approx(p, rel=0.01)  # type: ignore[arg-type]
    assert uniform_p([10, 10, 10, 10]) == 1.0 and uniform_p([0, 0, 0, 0]) == 1.0


def test_varied_texts_and_templates_differ_in_distinct_n_and_compression() -> None:
    rng = Random(1)
    varied = [" ".join(rng.choice("abcdefghijklmnopqrstuvwxyz") * rng.randint(1, 9) for _ in range(8)) for _ in range(300)]
    template = [f"This image features number {index}." for index in range(300)]
    assert distinct_n(["a b a b"], 1) == 0.5 and distinct_n(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct_n(varied, 2) > 2 * distinct_n(template, 2)
    assert compression(varied) < compression(template)
    assert (distinct_n([], 2), compression([])) == (0.0, 0.0)


def test_a_skeleton_is_the_same_for_all_objects() -> None:
    texts = ["The image shows a dog, but no hot dogs.", "The image shows an umbrella, but no traffic lights."]
    assert {skeleton(text) for text in texts} == {"image shows _ but no _"}
    assert skeleton("A blorp sits.", ["blorp"]) == "_ sits"


def test_verdicts_are_pass_look_and_surely_fail() -> None:
    limits = at_most(0.1, 0.3)
    counts = ((1, 10), (4, 10), (40, 100), (400, 1_000), (0, 0))
    assert [verdict_on(limits, *each) for each in counts] == ["pass", "look", "fail", "fail", "look"]
    assert [verdict_on(NEVER, bad, 1_000) for bad in (0, 1, 20)] == ["pass", "look", "fail"]
    assert [verdict_on(at_least(0.8, 0.3), good, 100) for good in (80, 79, 10)] == ["pass", "look", "fail"]


def test_small_shares_are_not_shown_as_nothing() -> None:
    assert judged("id", "rule", at_most(0.1), 1, 100_000, advice="").shown.startswith("under 0.01 %")
    assert [percent(share) for share in (0, 0.00042, 0.5)] == ["0 %", "0.04 %", "50.0 %"]


def test_only_words_besides_the_objects_tell_texts_apart() -> None:
    rng = Random(0)
    absent, present = ["dog", "cats", "umbrella"], ["tree", "boats", "lamp"]

    def texts(leak: str) -> list[LabelledText]:
        found = []
        for row in range(400):
            form = rng.choice(["What colour {be} the {name}?", "What {be} the {name} next to?", "Where {be} the {name} facing?"])
            for positive, names in ((True, absent), (False, present)):
                name = rng.choice(names)
                text = form.format(be="are" if name.endswith("s") else "is", name=name)
                found.append(LabelledText(text + (leak if positive else ""), positive, (name,), row))
        return found

    assert separability(texts("")).value < 0.6
    assert separability(texts(" Exactly?")).value > 0.95
    assert separability([]).n == 0


def test_a_report_of_strange_texts_is_json() -> None:
    tally = ValueTally()
    tally.add_values(pl.Series(["</script>", "\u2028", "", "\U0001f600"]))
    assert {name for name, _ in json.loads(json.dumps(tally.most_common()))} == {"</script>", "\u2028", "", "\U0001f600"}
