"""The image steps with the embedded models: pictures painted, looked at again, described, and judged anew by other thresholds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from shardmill.core import model_shard as shard_work
from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.rethreshold import rethreshold
from shardmill.core.shard_runner import run_shard
from shardmill.store.journal import read_records
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage
from shardmill.util.atomic import file_digest
from shardmill.util.errors import Stopped, UserError

SCENES = [
    ("a dog on a sofa", "a (dog:1.3) on a (sofa:1.1)", "(cat:1.2), (lamp:1.1)", ["dog", "sofa"], ["cat", "lamp"]),
    ("a red boat", "a red (boat:1.2)", "(dog:1.2)", ["boat"], ["dog"]),
    ("the meaning", "the (meaning:1.2)", "", ["meaning"], ["dog"]),
    ("two cats", "two (cats:1.3) and a (chair:1.1)", "(horse:1.4)", ["cat", "chair"], ["horse"]),
    ("a bus", "a (bus:1.3) by a (tree:1.1)", "(bicycle:1.4)", ["bus", "tree"], ["bicycle"]),
]


PICTURES = """
pipeline: antidote
stages: [{stage: generate_images, model: scene}, {stage: ground_objects, model: scene}]
"""


def scenes_csv(path: Path, times: int = 4) -> Path:
    rows = [(*scene[:3], json.dumps(scene[3]), str(scene[4])) for scene in SCENES * times]
    pl.DataFrame(rows, ["caption", "prompt", "prompt_neg", "present", "absent"], orient="row").write_csv(path)
    return path


def do(run: RunFolder, *stages: str) -> RunFolder:
    for stage in stages or run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
        check = check_stage(run, stage)
        assert not check.problems and not check.missing
    return run


def rows_of(run: RunFolder, stage: str) -> list[dict[str, object]]:
    return [row for shard in range(run.num_shards) for row in run.read_part(stage, shard)[0].iter_rows(named=True)]


def antidote(tmp_path: Path, name: str, shards: int, *settings: str) -> RunFolder:
    source = scenes_csv(tmp_path / "scenes.csv")
    lists = ["present", "absent"]
    pipeline = tmp_path / "pictures.yaml"
    pipeline.write_text(PICTURES)
    new = NewRun(input=source, pipeline=str(pipeline), num_shards=shards, list_columns=lists, settings=settings)
    return start_run(tmp_path / name, new)


def test_painted_pictures_show_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    run = do(antidote(tmp_path, "run", 3))
    rows = rows_of(run, "ground_objects")
    assert len(rows) == 16
    for row in rows:
        assert (run.path / str(row["generated_image"])).is_file()
        found = json.loads(str(row["detections"]))
        assert all(found[name]["score"] > 0.5 and found[name]["boxes"] for name in json.loads(str(row["present"])))
        assert all(found[name]["score"] < 0.1 for name in json.loads(str(row["absent"])))
    assert len({row["generated_image"] for row in rows}) == 16
    rejects = [path.read_text() for path in sorted(run.folder("generate_images").glob("*.rejects.csv"))]
    assert "".join(rejects).count("nothing to draw") == 4


def test_the_same_pictures_for_any_number_of_shards_and_a_stated_rate_of_mistakes(tmp_path: Path) -> None:
    one, three = (do(antidote(tmp_path, f"run{shards}", shards), "generate_images") for shards in (1, 3))
    assert [row["generated_image"] for row in rows_of(one, "generate_images")] == [
        row["generated_image"] for row in rows_of(three, "generate_images")
    ]
    for row in rows_of(one, "generate_images"):
        assert (one.path / str(row["generated_image"])).read_bytes() == (three.path / str(row["generated_image"])).read_bytes()
    wrong = do(antidote(tmp_path, "wrong", 1, "generate_images.model.add_rate=1.0"))
    for row in rows_of(wrong, "ground_objects"):
        found = json.loads(str(row["detections"]))
        assert all(found[name]["score"] > 0.5 for name in json.loads(str(row["absent"])) if row["prompt_neg"])


def test_a_list_column_that_holds_no_list_costs_that_row_only(tmp_path: Path) -> None:
    source = tmp_path / "scenes.csv"
    source.write_text("caption,prompt,prompt_neg,present,absent\na dog,a dog,,\"['dog']\",[]\na cat,a cat,,cat and dog,[]\n")
    (tmp_path / "pictures.yaml").write_text(PICTURES)
    pipeline = str(tmp_path / "pictures.yaml")
    new = NewRun(input=source, pipeline=pipeline, list_columns=["present", "absent"])
    run = start_run(tmp_path / "run", new)
    assert [row["present"] for row in rows_of(run, "ingest")] == ['["dog"]']
    (rejects,) = run.folder("ingest").glob("*.rejects.csv")
    assert "unreadable cell" in rejects.read_text()
    with pytest.raises(UserError, match="no column 'presnt'"):
        start_run(tmp_path / "other", NewRun(input=source, pipeline=pipeline, list_columns=["presnt"]))


SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "captions.csv"


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """NegBench up to its image check, at 0.1, with a detector that errs."""
    settings = ["filter_objects.model.miss_rate=0.2", "filter_objects.model.false_alarm_rate=0.2"]
    run = start_run(tmp_path_factory.mktemp("filtered") / "run", NewRun(input=SAMPLES, num_shards=3, settings=settings))
    return do(run, "extract_objects", "propose_negatives", "draw_questions", "filter_objects", "validate_objects")


def outcome(run: RunFolder) -> dict[str, bytes]:
    folder = run.folder("filter_objects")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


def test_other_thresholds_need_no_detector_and_give_the_rows_that_it_would_have_given(
    filtered: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ["filter_objects.present_above=0.65", "filter_objects.absent_below=0.4"]
    again = start_run(
        tmp_path / "again",
        NewRun(
            input=SAMPLES,
            num_shards=3,
            settings=["filter_objects.model.miss_rate=0.2", "filter_objects.model.false_alarm_rate=0.2", *other],
        ),
    )
    do(again, "extract_objects", "propose_negatives", "draw_questions", "filter_objects")
    shutil.copytree(filtered.path, tmp_path / "run")

    def no_model(*_: object) -> None:
        raise AssertionError("the detector was loaded")

    monkeypatch.setattr(shard_work, "open_model", no_model)
    run, result = rethreshold(RunFolder(tmp_path / "run"), "filter_objects", other)
    assert outcome(run) == outcome(again)
    assert result.again == [] and sum(result.before) == sum(result.after) and result.before != result.after
    assert not run.is_complete("validate_objects", 0)
    back, _ = rethreshold(run, "filter_objects", ["filter_objects.present_above=0.1", "filter_objects.absent_below=0.1"])
    assert outcome(back) == outcome(filtered)


def test_rethreshold_refuses_what_it_cannot_do(filtered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(filtered.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    for stage, settings, why in [
        ("validate_objects", ["validate_objects.attempts=2"], "keeps no detections"),
        ("filter_objects", ["filter_objects.present_above=0.1"], "the thresholds that filter_objects already has"),
        ("filter_objects", ["filter_objects.model.miss_rate=0.5"], "the detector is needed"),
        ("filter_objects", ["filter_objects.present_above=7"], "less than or equal"),
    ]:
        with pytest.raises(UserError, match=why):
            rethreshold(run, stage, settings)
    assert run.is_complete("filter_objects", 0) and run.is_complete("validate_objects", 0)


def test_a_rejected_row_whose_scores_are_lost_goes_to_the_detector_again(filtered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(filtered.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    rejects = run.files("filter_objects", 1).rejects
    before = file_digest(rejects)
    text = rejects.read_text()
    place = text.index('""boxes""')
    rejects.write_text(text[:place] + text[place + 12 :])
    manifest = run.files("filter_objects", 1).manifest
    manifest.write_text(manifest.read_text().replace(before, file_digest(rejects)))
    run, result = rethreshold(RunFolder(run.path), "filter_objects", ["filter_objects.present_above=0.65"])
    assert result.again == [1]
    do(run, "filter_objects")


def test_rows_of_an_interrupted_shard_are_judged_anew_and_not_looked_at_again(filtered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(filtered.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    redo(run, "filter_objects", shards=[1])
    looked = iter(range(20))
    with pytest.raises(Stopped):
        run_shard(run, "filter_objects", 1, should_stop=lambda: next(looked, None) is None)
    before = [record.key for record in read_records(run.files("filter_objects", 1).journals(), digest(run))]
    run, result = rethreshold(RunFolder(run.path), "filter_objects", ["filter_objects.present_above=0.65"])
    assert result.again == [1]
    after = [record.key for record in read_records(run.files("filter_objects", 1).journals(), digest(run))]
    assert before and after == before
    do(run, "filter_objects")


def digest(run: RunFolder) -> frozenset[str]:
    return run.digests("filter_objects")


def test_another_model_brings_its_own_thresholds(filtered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(filtered.path, tmp_path / "run")
    for name, thresholds in (("one", {"present_above": 0.3, "absent_below": 0.2}), ("two", {"present_above": 0.6})):
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"role": "detect", "kind": "scene", "thresholds": thresholds}))
    one = redo(RunFolder(tmp_path / "run"), "filter_objects", [f"filter_objects.model={tmp_path}/one.yaml"])
    assert (one.stage("filter_objects").options["present_above"], one.stage("filter_objects").options["absent_below"]) == (
        0.3,
        0.2,
    )
    same = redo(one, "filter_objects", ["filter_objects.model.miss_rate=0.1"])
    assert same.stage("filter_objects").options["present_above"] == 0.3
    own = redo(same, "filter_objects", ["filter_objects.absent_below=0.15"])
    two = redo(own, "filter_objects", [f"filter_objects.model={tmp_path}/two.yaml"])
    assert (two.stage("filter_objects").options["present_above"], two.stage("filter_objects").options["absent_below"]) == (
        0.6,
        0.15,
    )
    (tmp_path / "wrong.yaml").write_text('{"role": "detect", "kind": "scene", "thresholds": {"presnt_above": 0.3}}')
    with pytest.raises(UserError, match="presnt_above"):
        redo(two, "filter_objects", [f"filter_objects.model={tmp_path}/wrong.yaml"])


def test_the_command_says_what_became_of_the_rows(filtered: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(filtered.path, tmp_path / "run")
    command = [sys.executable, "-m", "shardmill", "rethreshold", str(tmp_path / "run"), "filter_objects"]
    told = subprocess.run([*command, "--set", "filter_objects.present_above=0.65"], capture_output=True, text=True)
    assert told.returncode == 0 and "rejected, now" in told.stdout and "next: shardmill launch negbench" in told.stdout
    again = subprocess.run([*command, "--set", "filter_objects.present_above=0.65"], capture_output=True, text=True)
    assert again.returncode == 2 and again.stderr.count("\n") == 1
