"""Questions: exactly one option is true, cells and positions are uniform, and a row gets the same question in any shard."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import polars as pl
import pytest

from shardmill.core.stage import Context
from shardmill.language.lexicon import lexicon
from shardmill.language.polarity import check_polarity
from shardmill.negbench.create_mcq import CreateMcq

NAMES = list(lexicon().entries)
STYLES = [
    {"style": "balanced"},
    {"style": "balanced", "questions_per_image": 3, "medium": "video"},
    {"style": "original"},
    {"style": "original", "questions_per_image": 3},
]


def rows(count: int, most: int = 4) -> pl.DataFrame:
    """Rows with lists of objects and three questions each, about objects of the lists."""
    rng = Random(1)
    drawn = [rng.sample(NAMES, 2 * most) for _ in range(count)]
    lists = [(names[: rng.randint(2, most)], names[most : most + rng.randint(2, most)]) for names in drawn]
    return pl.DataFrame(
        {
            "row_id": range(count),
            "positive_objects": [json.dumps(positives) for positives, _ in lists],
            "negative_objects": [json.dumps(negatives) for _, negatives in lists],
            "valid_questions": [json.dumps([question(rng, *both) for _ in range(3)]) for both in lists],
        }
    )


def question(rng: Random, positives: list[str], negatives: list[str]) -> dict:
    present = [rng.random() < 0.5, rng.random() < 0.5]
    pools = {True: rng.sample(positives, 2), False: rng.sample(negatives, 2)}
    return {"objects": [pools[each].pop() for each in present], "present": present, "counts": [rng.randint(20, 90), 30, 7]}


def make(table: pl.DataFrame, whole: pl.DataFrame | None = None, **options: object) -> pl.DataFrame:
    stage = CreateMcq(options, Context(seed=5))
    if stage.fit_rows:
        stage.fitted = stage.fit(table if whole is None else whole)
    return stage.transform(table)


def accepted(table: pl.DataFrame, **options: object) -> list[dict]:
    return make(table, **options).filter(pl.col("reject_reason").is_null()).to_dicts()


@pytest.mark.parametrize("options", STYLES)
def test_exactly_one_option_is_true_and_all_are_distinct(options: dict) -> None:
    table = rows(3_000)
    lists = {row["row_id"]: row for row in table.to_dicts()}
    for question in accepted(table, **options):
        texts = [question[f"caption_{index}"] for index in range(4)]
        assert len(set(texts)) == 4
        assert "None" not in "".join(texts)
        objects = {item["name"]: item["present"] for item in json.loads(question["mcq_objects"])}
        positives = json.loads(lists[question["row_id"]]["positive_objects"])
        negatives = json.loads(lists[question["row_id"]]["negative_objects"])
        assert all(name in (positives if present else negatives) for name, present in objects.items())
        truths = json.loads(question["option_truths"])
        true = [index for index, truth in enumerate(truths) if all(objects[name] == claimed for name, claimed in truth.items())]
        assert true == [question["correct_answer"]]


def test_the_texts_claim_what_their_truths_say() -> None:
    for question in accepted(rows(1_500)):
        for index, truth in enumerate(json.loads(question["option_truths"])):
            assert check_polarity(question[f"caption_{index}"], truth) is None, question[f"caption_{index}"]


def test_cells_and_positions_are_uniform() -> None:
    made = accepted(rows(12_000))
    cells = Counter(question["correct_answer_template"] for question in made)
    positions = Counter(question["correct_answer"] for question in made)
    expected = len(made) / 4
    for counts in (cells, positions):
        assert len(counts) == 4
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < 16.3  # chi square, 3 degrees, p = 0.001


def test_two_spellings_of_one_name_are_no_pair() -> None:
    lists = {"positive_objects": ['["zorb ball"]'], "negative_objects": ['["zorb-ball"]'], "valid_questions": ["[]"]}
    assert make(pl.DataFrame({"row_id": [1], **lists}), style="original")["reject_reason"].to_list() == ["no unrelated pair"]


@pytest.mark.parametrize("options", STYLES)
def test_a_row_gets_the_same_question_in_any_shard(options: dict) -> None:
    table = rows(2_000)
    whole = make(table, **options)
    pieces = [make(table.slice(start, length), table, **options) for start, length in ((0, 700), (700, 1), (701, 1_299))]
    assert pl.concat(pieces, how="diagonal").select(whole.columns).equals(whole)


def test_the_published_format_has_its_texts() -> None:
    lists = {"positive_objects": ['["ferry"]'] * 200, "negative_objects": ['["crane"]'] * 200}
    table = pl.DataFrame({"row_id": range(200), **lists, "valid_questions": ["[]"] * 200})
    made = accepted(table, style="original")
    false = {"This image features crane, but not ferry.", "This image features crane.", "This image does not feature ferry."}
    right = {
        "negative": "This image does not feature crane.",
        "hybrid": "This image features ferry, but not crane.",
        "modified_positive": "This image features ferry.",
    }
    assert Counter(question["correct_answer_template"] for question in made).keys() == right.keys()
    for question in made:
        texts = [question[f"caption_{index}"] for index in range(4)]
        assert texts[question["correct_answer"]] == right[question["correct_answer_template"]]
        assert set(texts) - {texts[question["correct_answer"]]} == false


def biased(count: int) -> pl.DataFrame:
    """Questions as a detector leaves them that often sees a common object where captions do not name it: it is rarely absent."""
    rng = Random(3)
    rows = []
    while len(rows) < count:
        common, rare = rng.choice(NAMES[:40]), rng.choice(NAMES[40:300])
        present = [rng.random() < 0.5, rng.random() < 0.5]
        if present[0] or rng.random() < 0.4:
            counts = [900, rng.randint(5, 40), rng.randint(1, 5)]
            rows.append(json.dumps([{"objects": [common, rare], "present": present, "counts": counts}]))
    lists = {"positive_objects": ["[]"] * count, "negative_objects": ["[]"] * count}
    return pl.DataFrame({"row_id": range(count), **lists, "valid_questions": rows})


def test_what_a_detector_refuses_is_balanced_out() -> None:
    stage = CreateMcq({}, Context(seed=5))
    facts = stage.facts(stage.fit(biased(4_000)))
    assert facts["predicted blind accuracy of all"] > 0.32
    assert facts["predicted blind accuracy of those kept"] < 0.275
    assert facts["questions kept"] > 2_000
    loose = CreateMcq({"balance": 0}, Context(seed=5))
    assert loose.facts(loose.fit(biased(4_000)))["questions kept"] == 4_000


def test_questions_that_are_balanced_already_are_nearly_all_kept() -> None:
    stage = CreateMcq({"questions_per_image": 3}, Context(seed=5))
    facts = stage.facts(stage.fit(rows(2_000)))
    assert facts["questions kept"] > 0.9 * facts["questions confirmed"]


def test_rows_without_a_question_say_why() -> None:
    table = pl.concat([biased(2_000), pl.DataFrame({"row_id": [2_000], "positive_objects": ["[]"], "negative_objects": ["[]"],
                                                    "valid_questions": ["[]"]})])  # fmt: skip
    reasons = dict(make(table).select("row_id", "reject_reason").iter_rows())
    assert reasons[2_000] == "no question confirmed"
    assert set(reasons.values()) == {None, "left out for balance", "no question confirmed"}
