"""The export for NegBench's evaluation, read by a loader and a loop written as its own `CsvMCQDataset` and `evaluate_model`."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from exported import export, finish, negbench, parts
from shardmill.core.planning import NewRun, start_run
from shardmill.negbench.evaluation_export import options_in_order
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

WRONG_BY_POSITION = {1: "hybrid", 2: "positive", 3: "negative"}
TYPES = ("positive", "negative", "hybrid")


def evaluate(path: Path, predict: int) -> dict[str, object]:
    """What `evaluate_model` counts when the model always takes one position; a KeyError where it would raise one."""
    right, asked = dict.fromkeys(TYPES, 0), dict.fromkeys(TYPES, 0)
    wrong = {answer: dict.fromkeys(TYPES, 0) for answer in TYPES}
    for _, row in pd.read_csv(path, sep=",").iterrows():
        with Image.open(row["image_path"]) as image:
            assert image.size == (320, 240)
        assert all(isinstance(row[f"caption_{index}"], str) for index in range(4))
        kind, answer = row["correct_answer_template"], int(row["correct_answer"])
        asked[kind] += 1
        if predict == answer:
            right[kind] += 1
        else:
            wrong[kind][WRONG_BY_POSITION[predict]] += 1
    accuracies = {kind: right[kind] / asked[kind] if asked[kind] else math.nan for kind in TYPES}
    return {"asked": asked, "accuracies": accuracies, "wrong": wrong}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Questions in the published format."""
    source = negbench().plan.input
    new = NewRun(input=Path(source.path), settings=("create_mcq.style=original",), num_shards=1)
    return finish(start_run(tmp_path_factory.mktemp("original") / "run", new))


def test_the_evaluation_reads_each_question_and_finds_the_right_option_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export(negbench(), "negbench-eval", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    rows = parts(negbench(), "paraphrase_mcq")
    found = evaluate(done.path / "questions.csv", predict=0)
    assert found["asked"] == {
        "positive": rows.filter(correct_answer_template="both").height,
        "negative": rows.filter(correct_answer_template="neither").height,
        "hybrid": rows.filter(correct_answer_template="first_only").height
        + rows.filter(correct_answer_template="second_only").height,
    }
    assert all(value == 1 or math.isnan(value) for value in found["accuracies"].values())  # type: ignore[attr-defined]
    table = pd.read_csv(done.path / "questions.csv")
    for line, row in zip(table.to_dict("records"), rows.to_dicts(), strict=True):
        options = [line[f"caption_{index}"] for index in range(4)]
        assert options[0] == row[f"paraphrase_{row['correct_answer']}"]
        assert Counter(options) == Counter(row[f"paraphrase_{index}"] for index in range(4))


def test_in_the_published_format_each_wrong_option_is_where_the_evaluation_expects_its_type(
    original: RunFolder, tmp_path: Path
) -> None:
    done = export(original, "negbench-eval", tmp_path / "out")
    rows = parts(original, "paraphrase_mcq").to_dicts()
    lines = pd.read_csv(done.path / "questions.csv").to_dict("records")
    assert len(rows) == len(lines) > 5
    for line, row in zip(lines, rows, strict=True):
        claims = {row[f"paraphrase_{index}"]: truth for index, truth in enumerate(json.loads(row["option_truths"]))}
        for position, kind in WRONG_BY_POSITION.items():
            values = set(claims[line[f"caption_{position}"]].values())
            assert values == {"hybrid": {True, False}, "positive": {True}, "negative": {False}}[kind]
    for predict in range(4):
        evaluate(done.path / "questions.csv", predict)


def test_a_second_hybrid_option_takes_the_position_that_is_free() -> None:
    assert options_in_order(["hybrid", "hybrid", "negative", "positive"], 3) == [3, 0, 1, 2]
    assert options_in_order(["hybrid", "negative", "hybrid", "positive"], 1) == [1, 0, 3, 2]


def test_other_pipelines_and_tables_do_not_have_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="captions of a negbench run cannot be negbench-eval, which needs multiple-choice"):
        export(negbench(), "negbench-eval", tmp_path / "out", what=["captions"])
