"""Edited images: what is asked of an editor, and what a detector must see in the result."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exported import edited, export, parts
from shardmill.anyedit.build import build
from shardmill.anyedit.check_edits import LOST, NOT_THERE, STILL_THERE, CheckEdits
from shardmill.anyedit.edit_images import NO_IMAGE, SECOND_IMAGE, EditImages
from shardmill.core.stage import Answer, Context, ModelCall, Reject
from shardmill.embedded.scene import detect_objects
from shardmill.models.contract import DetectionResult, EditRequest
from shardmill.models.images import open_image
from shardmill.store.run_folder import RunFolder

RUN = Path("/run")


def edit_row(kind: str, **columns: Any) -> dict[str, Any]:
    texts = {"edit_input": "A dog on a sofa.", "edit": "Remove the dog", "output": "A sofa."}
    return {"row_id": 1, "sub_id": 0, "generated_image": "generate_images/images/a.png", "edit_type": kind, **texts, **columns}


def test_an_editor_gets_the_image_the_instruction_and_both_captions() -> None:
    [call] = EditImages({}, Context(run_folder=RUN)).ask(edit_row("remove"), Random(0))
    assert call.request == EditRequest(
        "/run/generate_images/images/a.png", "Remove the dog", "A dog on a sofa.", "A sofa.", "remove", "/run/edit_images/images"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [(edit_row("visual_bbox"), SECOND_IMAGE), (edit_row("remove", generated_image=None), NO_IMAGE)],
)
def test_edits_without_an_image_or_with_two_are_rejected(row: dict[str, Any], reason: str) -> None:
    stage = EditImages({}, Context(run_folder=RUN))
    assert stage.ask(row, Random(0)) == []
    result = stage.accept(row, [])
    assert isinstance(result, Reject) and result.reason == reason


def check(kind: str, details: dict[str, Any], after: dict[str, float], **options: Any) -> str | None:
    """The reason for which an edited image is rejected; before the edit, a dog and a sofa were seen."""
    before = {name: {"score": 0.9, "boxes": [[0, 0, 9, 9]]} for name in ("dog", "sofa")} | {"cat": {"score": 0.05, "boxes": []}}
    row = {"row_id": 1, "edited_image": "e.png", "edit_type": kind, "details": details, "detections": before}
    stage = CheckEdits(options, Context(run_folder=RUN))
    [call] = stage.ask(row, Random(0))
    found = {name: DetectionResult(after.get(name, 0.0)) for name in call.request.names}
    result = stage.accept(row, [Answer(ModelCall(call.request), found)])
    return result.reason if isinstance(result, Reject) else None


DOG = {"edited_object": "dog"}


@pytest.mark.parametrize(
    ("kind", "details", "after", "reason"),
    [
        ("remove", DOG, {"sofa": 0.9}, None),
        ("remove", DOG, {"sofa": 0.9, "dog": 0.25}, STILL_THERE),
        ("remove", DOG, {"dog": 0.0}, LOST),
        ("add", {"edited_object": "ball"}, {"ball": 0.5, "dog": 0.9, "sofa": 0.9}, None),
        ("add", {"edited_object": "ball"}, {"dog": 0.9, "sofa": 0.9}, NOT_THERE),
        ("replace", {**DOG, "new_object": "cat"}, {"cat": 0.8, "sofa": 0.9}, None),
        ("replace", {**DOG, "new_object": "cat"}, {"cat": 0.8, "dog": 0.8, "sofa": 0.9}, STILL_THERE),
        ("replace", {**DOG, "new_object": "cat"}, {"sofa": 0.9}, NOT_THERE),
        ("color_alter", {**DOG, "color": "red"}, {"dog": 0.6, "sofa": 0.9}, None),
        ("color_alter", {**DOG, "color": "red"}, {"sofa": 0.9}, NOT_THERE),
        ("movement", {"object": "dog"}, {"sofa": 0.9}, NOT_THERE),
        ("style_change", {}, {"dog": 0.9, "sofa": 0.1}, LOST),
    ],
)
def test_a_detector_must_see_what_the_edit_says(
    kind: str, details: dict[str, Any], after: dict[str, float], reason: str | None
) -> None:
    assert check(kind, details, after) == reason


def test_other_objects_may_be_lost_where_that_is_allowed() -> None:
    assert check("remove", DOG, {}, keep_others=False) is None


@pytest.fixture(name="edited")
def made() -> RunFolder:
    return edited()


def test_the_pipeline_makes_images_that_the_detector_has_seen_and_says_why_others_are_not(edited: RunFolder) -> None:
    rows = parts(edited, "check_edits")
    kinds = set(rows["edit_type"])
    assert kinds == {"add", "remove", "replace", "color_alter"}
    for row in rows.iter_rows(named=True):
        details = json.loads(row["details"])
        image = open_image(str(edited.path / row["edited_image"]))
        source = open_image(str(edited.path / row["generated_image"]))
        assert image.size == source.size == (row["edited_width"], row["edited_height"])
        assert image.tobytes() != source.tobytes()
        there = bool(detect_objects(image, [details["edited_object"]])[details["edited_object"]].boxes)
        assert there == (row["edit_type"] in ("add", "color_alter"))
    reasons = {
        reason
        for shard in range(2)
        for line in edited.files("edit_images", shard).rejects.read_text(encoding="utf-8").splitlines()[1:]
        for reason in ("edit that scene cannot make", "edit needs a second image")
        if reason in line
    }
    assert reasons == {"edit that scene cannot make", "edit needs a second image"}


def test_the_dataset_names_the_edited_image_of_each_instruction_that_has_one(edited: RunFolder, tmp_path: Path) -> None:
    build(edited, tmp_path / "datasets")
    lines = (tmp_path / "datasets" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["edit_type"] != "implicit_change"]
    made = {(record["row_id"], record["sub_id"]): record["edited_file"] for record in records if record["edited_file"]}
    rows = parts(edited, "check_edits")
    assert set(made) == set(rows.select("row_id", "sub_id").iter_rows()) and len(made) < len(records)
    assert all(Path(path).is_file() for path in made.values())


def test_edits_are_exported_with_the_images_after_them(edited: RunFolder, tmp_path: Path) -> None:
    done = export(edited, "hf", tmp_path / "hf", what=["edits"])
    assert done.record["left_out"] == {}
    assert done.record["files"]["data/edits-00000.parquet"]["rows"] == parts(edited, "check_edits").height
