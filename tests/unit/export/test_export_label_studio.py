"""Rows to look at and tick elsewhere: Label Studio's tasks, and FiftyOne's samples.

tests/models/test_annotation_tools.py reads the same files by the code of both.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from exported import antidote, export, negbench, parts, recaption
from shardmill.models.images import open_image


@pytest.mark.parametrize("images", ["copy", "reference"])
def test_a_task_has_the_image_the_texts_and_the_boxes_of_what_is_there(tmp_path: Path, images: str) -> None:
    done = export(negbench(), "label-studio", tmp_path / "out", images=images)
    tasks = json.loads((done.path / "captions.tasks.json").read_text(encoding="utf-8"))
    rows = parts(negbench(), "caption_negated")
    assert [task["data"]["row_id"] for task in tasks] == rows["row_id"].to_list()
    for task, row in zip(tasks, rows.iter_rows(named=True), strict=True):
        path = "/" + unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        width, height = open_image(path).size
        assert task["data"]["text"].split("\n") == json.loads(row["negative_captions"])
        detections, found = json.loads(row["detections"]), set()
        for prediction in task["predictions"]:
            for result in prediction["result"]:
                value = result["value"]
                assert (result["original_width"], result["original_height"]) == (width, height)
                assert 0 <= value["x"] <= value["x"] + value["width"] <= 100.001
                found.add((value["rectanglelabels"][0], round(value["x"] * width / 100, 1)))
        assert found == {(name, box[0]) for name in json.loads(row["positive_objects"]) for box in detections[name]["boxes"]}
        assert {label["value"] for label in task["data"]["labels"]} == {name for name, _ in found}


def test_the_interface_names_what_tasks_have(tmp_path: Path) -> None:
    done = export(antidote(), "label-studio", tmp_path / "out", what=["pictures"])
    view = ElementTree.parse(done.path / "label_studio_interface.xml").getroot()
    [tasks] = [json.loads(path.read_text(encoding="utf-8")) for path in done.path.glob("*.tasks.json")]
    wanted = {each.get("value", "")[1:] for each in view if each.get("value", "").startswith("$")}
    assert wanted <= set(tasks[0]["data"]) and wanted == {"image", "labels", "text"}
    assert [choice.get("value") for choice in view.iter("Choice")] == ["right", "wrong", "unclear"]
    results = tasks[0]["predictions"][0]["result"]
    names = {each.get("name") for each in view}
    assert {result["from_name"] for result in results} | {result["to_name"] for result in results} <= names


def test_questions_are_shown_with_their_answers(tmp_path: Path) -> None:
    done = export(antidote(), "label-studio", tmp_path / "out", what=["pairs"])
    [task, *_] = json.loads((done.path / "pairs.tasks.json").read_text(encoding="utf-8"))
    row = parts(antidote(), "pair_preferences").row(0, named=True)
    assert task["data"]["text"] == f"{row['query']} – {row['response']}"


def test_a_sample_of_fiftyone_has_all_columns_and_relative_boxes(tmp_path: Path) -> None:
    done = export(negbench(), "fiftyone", tmp_path / "out", images="copy")
    samples = json.loads((done.path / "samples.json").read_text(encoding="utf-8"))["samples"]
    rows = parts(negbench(), "caption_negated")
    for sample, row in zip(samples, rows.iter_rows(named=True), strict=True):
        width, height = open_image(str(done.path / sample["filepath"])).size
        assert sample["caption"] == row["caption"] and sample["row_id"] == row["row_id"]
        assert sample["texts"] == sample["negative_captions"] == json.loads(row["negative_captions"])
        detections = json.loads(row["detections"])
        boxes = [(each["label"], each["bounding_box"][0]) for each in sample["objects"]["detections"]]
        assert boxes == [
            (name, pytest.approx(box[0] / width, abs=1e-5))
            for name in json.loads(row["positive_objects"])
            for box in detections[name]["boxes"]
        ]
        assert height > 0


def test_rows_without_boxes_are_samples_too(tmp_path: Path) -> None:
    done = export(recaption(), "fiftyone", tmp_path / "out")
    samples = json.loads((done.path / "samples.json").read_text(encoding="utf-8"))["samples"]
    assert len(samples) > 10 and all("objects" not in sample and sample["texts"] for sample in samples)
    assert all(Path(sample["filepath"]).is_file() for sample in samples)
