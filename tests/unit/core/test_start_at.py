"""Runs that start in the middle, with the rows of the system that a pipeline follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from exported import SAMPLES, finish
from shardmill.core.planning import NewRun, start_run
from shardmill.export.images import ExportImages
from shardmill.launch.finish import build_datasets
from shardmill.models.images import UnreadableImage
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage
from shardmill.util.errors import UserError


def test_columns_that_may_be_empty_need_not_be_there_and_lists_are_known(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    pl.DataFrame({"image": ["a.png"], "caption": ["A dog on a red sofa."]}).write_csv(table)
    run = start_run(tmp_path / "without", NewRun(input=table, pipeline="anyedit-captions"))
    assert run.read_part("ingest", 0)[0]["texts"].to_list() == ["[]"]
    pl.DataFrame({"image": ["a.png"], "caption": ["A sign."], "texts": ['["STOP"]']}).write_csv(table)
    run = start_run(tmp_path / "with", NewRun(input=table, pipeline="anyedit-captions"))
    assert next(run.rows("ingest", [0]))["texts"] == ["STOP"]


def test_columns_that_must_be_there_are_named(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    pl.DataFrame({"prompt": ["a dog"], "present": ['["dog"]']}).write_csv(table)
    with pytest.raises(UserError, match=r"the input needs the column absent; it has prompt, present"):
        start_run(tmp_path / "run", NewRun(input=table, pipeline="antidote-pictures"))
    pl.DataFrame({"prompt": ["a dog"], "present": ["['dog']"], "absent": ['["cat"]']}).write_csv(table)
    run = start_run(tmp_path / "run", NewRun(input=table, pipeline="antidote-pictures"))
    assert next(run.rows("ingest", [0]))["present"] == ["dog"]


STEP_1 = {
    "filepath": "images/0001.png",
    "caption": "A seagull makes off with some french fries.",
    "extracted_objects": "['seagull', 'fries']",
}
STEP_3 = {**STEP_1, "negative_objects": "['anchor', 'crane', 'boat']"}
STEP_5 = {**STEP_3, "negative_captions": "['A seagull with fries, but no anchor.']"}

NEGBENCH = [
    ("propose_negatives", STEP_1, {"objects": "extracted_objects"}),
    ("draw_questions", STEP_3, {"objects": "extracted_objects", "negatives": "negative_objects"}),
    ("draw_questions", STEP_5, {"objects": "extracted_objects", "negatives": "negative_objects"}),
]

RECORD = {
    "caption": "a red tram passing a bakery on a rainy street corner",
    "present": ["tram", "bakery"],
    "no-exist": ["umbrella", "traffic light"],
    "prompt": "a red tram",
    "prompt_neg": "umbrella",
}

ANTIDOTE = [
    ("judge_captions", RECORD, {"scene_caption": "caption", "absent": "no-exist"}),
    ("generate_images", RECORD, {"absent": "no-exist"}),
    ("ask_presuppositions", {**RECORD, "idx": 1}, {"verified_present": "present", "generated_image": "{idx}.jpg"}),
]


def planned(folder: Path, pipeline: str, stage: str, record: dict[str, Any], **options: Any) -> RunFolder:
    path = folder / "in.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps(record) + "\n")
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "0001.png").write_bytes((SAMPLES / "images" / "0001.png").read_bytes())
    return start_run(folder / f"run-{stage}", NewRun(input=path, pipeline=pipeline, start_at=stage, num_shards=1, **options))


@pytest.mark.parametrize(("stage", "record", "copies"), NEGBENCH, ids=["objects", "negatives", "captions"])
def test_negbench_goes_on_from_the_original_after_any_of_its_steps(
    tmp_path: Path, stage: str, record: dict[str, Any], copies: dict[str, str]
) -> None:
    run = planned(tmp_path, "negbench", stage, record)
    assert run.plan.stages[0].name == stage and copies.items() <= run.plan.input.copies.items()
    (row, _) = run.read_part("ingest", 0)[0].to_dicts()
    assert json.loads(row[next(iter(copies))]) == ["seagull", "fries"]
    finish(run)
    build_datasets(run)
    assert not check_stage(run, run.plan.stages[-1].name).problems
    assert list((run.path / "datasets").iterdir())


@pytest.mark.parametrize(("stage", "record", "copies"), ANTIDOTE, ids=[case[0] for case in ANTIDOTE])
def test_antidote_goes_on_from_the_original_after_any_of_its_steps(
    tmp_path: Path, stage: str, record: dict[str, Any], copies: dict[str, str]
) -> None:
    (tmp_path / "1.jpg").write_bytes((SAMPLES / "images" / "0001.png").read_bytes())
    run = planned(tmp_path, "antidote", stage, record)
    assert copies.items() <= run.plan.input.copies.items()
    (row, _) = run.read_part("ingest", 0)[0].to_dicts()
    assert row.get("generated_image") in (None, "given_images/1.jpg")
    finish(run)
    build_datasets(run)
    assert not check_stage(run, run.plan.stages[-1].name).problems
    if "idx" in record:
        shown = ExportImages(run, "generated_image")
        assert shown.load(row["generated_image"]).width > 0
        with pytest.raises(UnreadableImage, match="outside of the run"):
            shown.reference("given_images/../../1.jpg")


def test_captions_of_anyedit_s_concepts_go_on_to_images(tmp_path: Path) -> None:
    record = {"concept": "kettle", "background": "kitchen", "caption": "A kettle stands in a kitchen."}
    path = tmp_path / "c.csv"
    pl.DataFrame([record]).write_csv(path)
    run = start_run(tmp_path / "run", NewRun(input=path, pipeline="anyedit", start_at="generate_images"))
    assert run.read_part("ingest", 0)[0]["scene_caption"].to_list() == [record["caption"]]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="to start at filter_objects the input needs the column negatives or negative_objects"):
        planned(tmp_path, "negbench", "filter_objects", STEP_1)
    with pytest.raises(UserError, match="no stage 'filter'; did you mean 'filter_objects'"):
        planned(tmp_path, "negbench", "filter", STEP_1)
    with pytest.raises(UserError, match="option_truths"):
        planned(tmp_path, "negbench", "paraphrase_mcq", {"image_path": "1.png", **{f"caption_{at}": "x" for at in range(4)}})
    assert not list(tmp_path.glob("run*"))


def test_a_run_that_starts_anew_says_where_its_input_could_go_on(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    pl.DataFrame([STEP_3]).write_csv(path)
    run = start_run(tmp_path / "run", NewRun(input=path, settings=("filter_objects.unverified=keep",)))
    (note,) = [note for note in run.plan.input.notes if "--start-at" in note]
    assert "--start-at propose_negatives or draw_questions" in note
    pl.DataFrame([{"filepath": "1.png", "caption": "A dog."}]).write_csv(path)
    plain = start_run(tmp_path / "plain", NewRun(input=path, settings=("filter_objects.unverified=keep",)))
    assert not any("--start-at" in note for note in plain.plan.input.notes)
