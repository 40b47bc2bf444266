"""The whole NegBench pipeline over the bundled sample: what comes out is right, and the same for any number of shards."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.language.object_names import is_denied, is_named
from shardmill.language.polarity import check_negated, check_polarity
from shardmill.language.relations import mentions, relation
from shardmill.negbench.build import build
from shardmill.store.combine import combine
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_stage

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "captions.csv"
DATASETS = ("negcap.tsv", "negcap.csv", "negmcq.csv", "negfull.jsonl", "negfull.tsv", "retrieval.csv")


def whole_run(folder: Path, num_shards: int, settings: tuple[str, ...] = ()) -> RunFolder:
    run = start_run(folder, NewRun(input=SAMPLE, num_shards=num_shards, settings=settings))
    models: ModelPool = {}
    for stage in run.stages:
        for shard in reversed(range(num_shards)):
            run_shard(run, stage, shard, models=models)
    build(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return whole_run(tmp_path_factory.mktemp("negbench") / "eight", 8)


def table(run: RunFolder, stage: str, folder: Path) -> list[dict[str, str]]:
    with open(combine(run, stage, folder / f"{stage}.csv").path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_three_shards_give_the_datasets_of_eight(run: RunFolder, tmp_path: Path) -> None:
    other = whole_run(tmp_path / "three", 3)
    for name in DATASETS:
        assert (run.path / "datasets" / name).read_bytes() == (other.path / "datasets" / name).read_bytes(), name
    for stage in [INGEST, *run.stages]:
        assert table(run, stage, tmp_path) == table(other, stage, tmp_path)


def test_every_row_is_accounted_for_in_every_stage(run: RunFolder) -> None:
    for stage in [INGEST, *run.stages]:
        check = check_stage(run, stage)
        assert not check.missing and not check.problems
    records = sum(manifest.rows_in for manifest in check_stage(run, INGEST).manifests.values())
    with open(SAMPLE, newline="", encoding="utf-8") as file:
        assert records == sum(1 for _ in csv.reader(file)) - 1


def test_most_captions_survive_to_the_datasets(run: RunFolder) -> None:
    negcap = pd.read_csv(run.path / "datasets" / "negcap.csv")
    assert len(negcap) > 200
    assert negcap["image"].notna().all()


def test_objects_are_named_in_their_captions_and_negatives_are_not(run: RunFolder, tmp_path: Path) -> None:
    rows = table(run, "validate_objects", tmp_path)
    for row in rows:
        positives, negatives = json.loads(row["positive_objects"]), json.loads(row["negative_objects"])
        assert positives and negatives
        for name in positives:
            assert is_named(name, row["caption"]), (name, row["caption"])
        for name in negatives:
            assert not mentions(row["caption"], name) or is_denied(name, row["caption"])
            assert all(relation(name, positive) is None for positive in positives), (name, positives)


def test_negated_captions_affirm_and_negate_what_they_should(run: RunFolder, tmp_path: Path) -> None:
    forms: dict[str, int] = {}
    for row in table(run, "caption_negated", tmp_path):
        captions, details = json.loads(row["negative_captions"]), json.loads(row["negation_details"])
        assert len(captions) == len(details) == len({caption.casefold() for caption in captions})
        for caption, detail in zip(captions, details, strict=True):
            assert check_negated(caption, json.loads(row["positive_objects"]), [detail["object"]]) is None, caption
            assert detail["cue"]
            forms[detail["form"]] = forms.get(detail["form"], 0) + 1
    assert set(forms) == {"affirmation_first", "negation_first"}
    assert min(forms.values()) > 0.4 * sum(forms.values())


def test_every_question_has_four_options_that_say_what_their_truths_say(run: RunFolder, tmp_path: Path) -> None:
    for row in table(run, "paraphrase_mcq", tmp_path):
        for options in ([row[f"caption_{index}"] for index in range(4)], [row[f"paraphrase_{index}"] for index in range(4)]):
            assert len({option.casefold() for option in options}) == 4
        present = {item["name"]: item["present"] for item in json.loads(row["mcq_objects"])}
        truths = json.loads(row["option_truths"])
        assert [index for index, truth in enumerate(truths) if truth == present] == [int(row["correct_answer"])]
        for index, truth in enumerate(truths):
            assert check_polarity(row[f"paraphrase_{index}"], truth) is None, row[f"paraphrase_{index}"]


def test_the_published_formats_can_be_read_as_their_trainers_read_them(run: RunFolder) -> None:
    negcap = pd.read_csv(run.path / "datasets" / "negcap.tsv", sep="\t")
    assert list(negcap.columns) == ["filepath", "title"]
    assert negcap["title"].str.len().min() > 5
    mcq = pd.read_csv(run.path / "datasets" / "negmcq.csv")
    wanted = ["image_path", "correct_answer", "caption_0", "caption_1", "caption_2", "caption_3", "correct_answer_template"]
    assert list(mcq.columns)[:7] == wanted
    assert mcq["correct_answer"].between(0, 3).all()
    assert mcq[wanted].notna().all().all()
    card = json.loads((run.path / "datasets" / "dataset.json").read_text())
    assert card["pipeline"] == "negbench"


def test_unreadable_images_never_pass_unverified(run: RunFolder, tmp_path: Path) -> None:
    for row in table(run, "filter_objects", tmp_path):
        assert row["image_checked"] == "true"
        scores = json.loads(row["detections"])
        assert all(scores[name]["score"] >= 0.1 for name in json.loads(row["seen_objects"]))
        assert all(scores[name]["score"] < 0.1 for name in json.loads(row["unseen_negatives"]))
