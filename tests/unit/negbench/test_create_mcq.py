"""Questions: exactly one option is true, cells and positions are uniform, and a row gets the same question in any shard."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import polars as pl
import pytest

from shardmill.core.stage import Context
from shardmill.language.lexicon import lexicon
from shardmill.language.polarity import check_polarity
from shardmill.language.relations import relation
from shardmill.negbench.create_mcq import PLANS, CreateMcq
from shardmill.negbench.mcq_forms import CELLS
from shardmill.util.errors import UserError

NAMES = list(lexicon().entries)
STYLES = [
    {"style": "balanced"},
    {"style": "balanced", "questions_per_image": 3, "medium": "video"},
    {"style": "original"},
    {"style": "original", "questions_per_image": 3},
]


def rows(count: int, most: int = 4) -> pl.DataFrame:
    rng = Random(1)
    drawn = [rng.sample(NAMES, 2 * most) for _ in range(count)]
    return pl.DataFrame(
        {
            "row_id": range(count),
            "positive_objects": [json.dumps(names[: rng.randint(1, most)]) for names in drawn],
            "negative_objects": [json.dumps(names[most : most + rng.randint(1, most)]) for names in drawn],
        }
    )


def make(table: pl.DataFrame, **options: object) -> pl.DataFrame:
    return CreateMcq(options, Context(seed=5)).transform(table)


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


def test_rows_with_one_positive_can_be_used_without_giving_the_cell_away() -> None:
    table = rows(24_000)
    single = table["positive_objects"].str.json_decode(pl.List(pl.String)).list.len() == 1
    able = table["negative_objects"].str.json_decode(pl.List(pl.String)).list.len() >= 2
    share = table.filter(single & able).height / table.filter(able).height
    assert 0.2 < share < 0.3
    made = accepted(table, single_share=share)
    assert len(made) > 1.2 * len(accepted(table))
    cells = Counter(question["correct_answer_template"] for question in made)
    expected = len(made) / 4
    assert sum((count - expected) ** 2 / expected for count in cells.values()) < 16.3


def test_the_pair_of_a_question_is_unrelated() -> None:
    for question in accepted(rows(3_000)):
        x, y = (item["name"] for item in json.loads(question["mcq_objects"]))
        assert relation(x, y) is None


def test_how_many_questions_an_image_has_tells_nothing_about_their_answers() -> None:
    made = pl.DataFrame(accepted(rows(40_000, most=6), questions_per_image=3))
    made = made.join(made.group_by("row_id").agg(asked=pl.len()), on="row_id")
    groups = made.partition_by("asked", "sub_id")
    assert len(groups) == 6
    for group in groups:
        counts = Counter(group["correct_answer_template"])
        expected = group.height / 4
        assert expected > 50
        assert sum((counts[cell] - expected) ** 2 / expected for cell in CELLS) < 22.1  # chi square, 3 degrees, p = 0.00006


def test_the_questions_of_an_image_are_about_other_objects() -> None:
    made = pl.DataFrame(accepted(rows(3_000, most=6), questions_per_image=3))
    named: dict[int, list[str]] = {}
    for row_id, objects in made.select("row_id", "mcq_objects").iter_rows():
        named.setdefault(row_id, []).extend(item["name"] for item in json.loads(objects))
    assert all(len(names) == len(set(names)) for names in named.values())


def test_an_image_gets_as_many_questions_as_it_has_pairs_of_objects() -> None:
    table = rows(3_000, most=6)
    counts = [table[column].str.json_decode(pl.List(pl.String)).list.len() for column in ("positive_objects", "negative_objects")]
    pairs = dict(zip(table["row_id"], map(min, *counts), strict=True))
    asked = Counter(question["row_id"] for question in accepted(table, questions_per_image=3))
    assert all(count <= pairs[row_id] for row_id, count in asked.items())
    able = [row_id for row_id, least in pairs.items() if least >= 2]
    assert sum(asked[row_id] == min(pairs[row_id], 3) for row_id in able) > 0.9 * len(able)


def test_every_place_of_a_plan_has_each_cell_equally_often() -> None:
    for count, plans in PLANS.items():
        for plan in plans:
            assert len({place for pair in plan for place in pair}) == 2 * count
        for k in range(count):
            kinds = Counter(plan[k][0][0] + plan[k][1][0] for plan in plans)
            assert {kind: share / len(plans) for kind, share in kinds.items()} == {"pp": 0.25, "nn": 0.25, "pn": 0.5}


def test_two_spellings_of_one_name_are_no_pair() -> None:
    lists = {"positive_objects": ['["zorb ball"]'], "negative_objects": ['["zorb-ball"]']}
    assert make(pl.DataFrame({"row_id": [1], **lists}), style="original")["reject_reason"].to_list() == ["no unrelated pair"]


@pytest.mark.parametrize("options", STYLES)
def test_a_row_gets_the_same_question_in_any_shard(options: dict) -> None:
    table = rows(2_000)
    whole = make(table, **options)
    pieces = [make(table.slice(start, length), **options) for start, length in ((0, 700), (700, 1), (701, 1_299))]
    assert pl.concat(pieces, how="diagonal").select(whole.columns).equals(whole)


def test_rows_that_cannot_have_every_cell_are_rejected_with_the_reason() -> None:
    table = pl.DataFrame(
        {
            "row_id": [1, 2, 3, 4],
            "positive_objects": ['["dog"]', '["dog","tree"]', '["dog","puppy"]', '["dog","tree"]'],
            "negative_objects": ['["car","cup"]', '["car"]', '["car","cup"]', '["car","cup"]'],
        }
    )
    reasons = dict(make(table).select("row_id", "reject_reason").iter_rows())
    assert reasons == {1: "fewer than two positives", 2: "fewer than two negatives", 3: "no unrelated pair", 4: None}


def test_the_published_format_has_its_texts() -> None:
    table = pl.DataFrame({"row_id": range(200), "positive_objects": ['["ferry"]'] * 200, "negative_objects": ['["crane"]'] * 200})
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


def test_matched_draws_prefer_negatives_that_are_positives_elsewhere(tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text("object,positives,negatives\ncar,90,9\ncup,0,99\nkite,0,99\n")
    table = pl.DataFrame(
        {"row_id": range(2_000), "positive_objects": ['["dog"]'] * 2_000, "negative_objects": ['["car","cup","kite"]'] * 2_000}
    )

    def share(**options: object) -> float:
        made = accepted(table, style="original", **options)
        return sum(json.loads(question["mcq_objects"])[-1]["name"] == "car" for question in made) / len(made)

    assert 0.28 < share() < 0.39
    assert share(negative_draw="matched", object_counts=str(counts)) > 0.95


def test_matched_draws_need_their_counts() -> None:
    with pytest.raises(UserError, match="object_counts"):
        make(rows(10), negative_draw="matched")


def test_rows_with_one_positive_cannot_be_mixed_with_further_questions() -> None:
    with pytest.raises(UserError, match=r"single_share: .*questions_per_image=1 only"):
        CreateMcq({"single_share": 0.2, "questions_per_image": 2})
