"""All of Antidote with real code and small models: one that was trained for it, and random ones that paint and look."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from models.test_vision_pipelines import MIDDLE, captioner, detector, do
from models.tiny_diffusion import build_sd3
from models.train_tiny import CAPTIONS, DATA_ANTIDOTE, write_captions
from shardmill.antidote.build import PAIR_FORMS, build
from shardmill.antidote.hints import KINDS, queries_of
from shardmill.core.planning import NewRun, start_run
from shardmill.store.cells import decode
from shardmill.store.run_folder import RunFolder
from shardmill.util.resources import resource_text

TEXT_STAGES = ["parse_captions", "judge_captions", "ask_presuppositions", "judge_questions", "ask_pope"]
TEXT = {
    "kind": "transformers",
    "model": str(DATA_ANTIDOTE),
    "dtype": "float32",
    "max_batch_size": 8,
    "sampling": {"temperature": 0.0},
}
STOPS = {"generate_images": 4, "ask_presuppositions": 4}
"""Where the disturbed run is stopped: after so many looks for a signal."""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The models of all stages, and a threshold in the middle of what the random detector says."""
    folder = tmp_path_factory.mktemp("models")
    generator = {"kind": "diffusers", "width": 64, "height": 64, "steps": 2, "max_batch_size": 4}
    models = {
        **dict.fromkeys(TEXT_STAGES, TEXT),
        "generate_images": {**generator, "model": str(build_sd3(folder / "sd3"))},
        "ground_objects": detector(folder, "grounding-dino"),
        "answer_queries": captioner(folder, "llava"),
    }
    middle = MIDDLE["grounding-dino"]
    thresholds = [f"check_facts.present_above={middle}", f"check_facts.absent_below={middle}"]
    return [
        *(f"{stage}.model={json.dumps(model)}" for stage, model in models.items()),
        *thresholds,
        "answer_queries.max_tokens=16",
    ]


def make(folder: Path, settings: list[str], pipeline: str = "antidote", stops: dict[str, int] | None = None) -> RunFolder:
    new = NewRun(input=write_captions(folder / "captions.json"), pipeline=pipeline, num_shards=2, settings=settings)
    run = start_run(folder / "run", new)
    for stage in run.stages:
        do(run, stage, stop_after=(stops or {}).get(stage))
    build(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, settings: list[str]) -> RunFolder:
    return make(tmp_path_factory.mktemp("calm"), settings)


def rows(run: RunFolder, stage: str) -> list[Row]:
    kinds = run.kinds(stage)
    found = [row for shard in range(run.num_shards) for row in run.read_part(stage, shard)[0].iter_rows(named=True)]
    return [{name: decode(value, kinds[name]) for name, value in row.items()} for row in found]


def keys(run: RunFolder, stage: str, *columns: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What these columns are in the rows that came out, and in those that were rejected with a reason."""
    out = [tuple(row[column] for column in columns) for row in rows(run, stage)]
    rejected = []
    for shard in range(run.num_shards):
        with open(run.files(stage, shard).rejects, newline="", encoding="utf-8") as file:
            found = [*csv.DictReader(file)]
        assert all(row["reason"] for row in found)
        rejected += [tuple(int(row[column]) for column in columns) for row in found]
    return out, rejected


def lines(run: RunFolder, name: str) -> list[Row]:
    """The lines of a dataset, with the paths of images from the run's folder on."""
    text = (run.path / "datasets" / name).read_text(encoding="utf-8").replace(f"{run.path}/", "")
    return [json.loads(line) for line in text.splitlines()]


def test_the_model_knows_what_it_is_asked_and_most_rows_come_through_every_stage(run: RunFolder) -> None:
    # Of 24 captions 23 were judged good, 13 pictures verified and 9 answered, when this was written.
    left = {stage: len({row["row_id"] for row in rows(run, stage)}) for stage in run.stages}
    assert left["judge_captions"] >= CAPTIONS * 2 // 3
    assert left["generate_images"] == left["ground_objects"] == left["judge_captions"]
    assert left["answer_queries"] >= CAPTIONS // 4
    questions = [question for row in rows(run, "judge_questions") for question in row["questions"]]
    assert sum(question["verdict"] == "pass" for question in questions) >= CAPTIONS // 2


def test_every_row_comes_out_of_every_stage_or_is_rejected_with_a_reason(run: RunFolder) -> None:
    before = [(number,) for number in range(CAPTIONS)]
    for stage in run.stages[: run.stages.index("pair_preferences")]:
        out, rejected = keys(run, stage, "row_id")
        assert sorted({*out}) == sorted({*before} - {*rejected}) and not {*out} & {*rejected}
        assert len(rejected) == len({*rejected})
        before = out
    answered = {row_id for (row_id,) in before}
    asked = [(row["row_id"], place) for row in rows(run, "ask_descriptions") for place in range(len(queries_of(row)))]
    pairs, rejected = keys(run, "pair_preferences", "row_id", "sub_id")
    assert sorted([*pairs, *rejected]) == sorted(each for each in asked if each[0] in answered)


def test_pictures_and_detections_are_real(run: RunFolder) -> None:
    middle = MIDDLE["grounding-dino"]
    for row in rows(run, "check_facts"):
        with Image.open(run.path / row["generated_image"]) as picture:
            assert picture.size == (64, 64)
        scores = {name: found["score"] for name, found in row["detections"].items()}
        assert scores.keys() == {*row["present"], *row["absent"]}
        assert all(scores[name] >= middle for name in row["verified_present"])
        assert all(scores[name] < middle for name in row["verified_absent"])


def test_every_query_is_about_its_own_picture_and_what_was_verified_of_it(run: RunFolder) -> None:
    pictures = {row["row_id"]: row for row in rows(run, "ask_descriptions")}
    has_doubles = (run.path / "datasets" / "queries" / "near_duplicates.jsonl").exists()
    doubles = lines(run, "queries/near_duplicates.jsonl") if has_doubles else []
    written = {kind: lines(run, f"queries/{kind}_list.jsonl") for kind in KINDS}
    for kind, found in written.items():
        assert len(found) >= CAPTIONS // 6
        for query in found:
            picture = pictures[query["row_id"]]
            assert query["image"] == picture["generated_image"] and (run.path / query["image"]).is_file()
            assert query["text_hint"].endswith(query["text"])
            present, absent = picture["verified_present"], picture["verified_absent"]
            if kind == "desc":
                assert all(name in query["text_hint"] for name in [*present, *absent])
            else:
                assert query["object"] in (absent if kind == "cpq" else present)
    assert len(doubles) + sum(map(len, written.values())) == sum(len(queries_of(row)) for row in pictures.values())
    assert len({row["generated_image"] for row in pictures.values()}) == len(pictures)


def test_every_file_is_built(run: RunFolder) -> None:
    pairs = len(rows(run, "pair_preferences"))
    preferences = [f"preferences.{form}.jsonl" for form in PAIR_FORMS if pairs]  # files without lines are not written
    named = [f"queries/{kind}_list.jsonl" for kind in KINDS]
    wanted = {*named, *preferences, "queries/near_duplicates.jsonl", "antidote.jsonl", "dataset.json"}
    made = {path.relative_to(run.path / "datasets").as_posix() for path in (run.path / "datasets").rglob("*.json*")}
    assert made | {"queries/near_duplicates.jsonl"} == wanted  # which is there only if it has lines
    assert len(lines(run, "antidote.jsonl")) == len(rows(run, "ask_descriptions"))
    assert {len(lines(run, name)) for name in preferences} <= {pairs}


def test_a_run_that_was_stopped_and_gone_on_with_asks_the_same(run: RunFolder, tmp_path: Path, settings: list[str]) -> None:
    pipeline = yaml.safe_load(resource_text("slurm/pipelines/antidote.yaml"))
    pipeline["stages"] = pipeline["stages"][:-2]  # the queries need no answers
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(pipeline))
    of_these = [setting for setting in settings if not setting.startswith("answer_queries.")]
    stopped = make(tmp_path, of_these, str(tmp_path / "queries.yaml"), STOPS)
    for kind in KINDS:
        name = f"queries/{kind}_list.jsonl"
        assert lines(stopped, name) == lines(run, name)
