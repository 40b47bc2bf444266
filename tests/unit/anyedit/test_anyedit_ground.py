"""AnyEdit's pictures: painted from captions, and the captions' objects found in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shardmill.anyedit.generate_images import GenerateSceneImages
from shardmill.anyedit.ground_objects import GroundInputObjects
from shardmill.core.stage import Answer, Context
from shardmill.embedded.scene.detector import SceneDetector
from shardmill.embedded.scene.generator import SceneGenerator
from shardmill.models.contract import DetectionResult


def painted(folder: Path, caption: str, seed: int = 5) -> dict[str, Any]:
    stage = GenerateSceneImages(context=Context(run_folder=folder))
    (ask,) = stage.ask({"row_id": 0, "scene_caption": caption}, Random(0))
    reply = next(iter(SceneGenerator().stream([replace(ask.request, seed=seed)])))
    return stage.accept({"row_id": 0}, [Answer(ask, stage.parse(reply))])


def test_objects_of_a_caption_are_found_in_its_painted_picture(tmp_path: Path) -> None:
    picture = painted(tmp_path, "A dog sits beside a kettle.")
    assert (tmp_path / picture["generated_image"]).is_file() and picture["generated_image"].startswith("generate_images/images/")
    stage = GroundInputObjects(context=Context(run_folder=tmp_path, image_root=tmp_path / "elsewhere"))
    row = {"row_id": 0, "generated_image": picture["generated_image"], "input_objects": ["dog", "kettle", "lamp", "..."]}
    (ask,) = stage.ask(row, Random(0))
    assert ask.request.names == ("dog", "kettle", "lamp")
    answer = Answer(ask, stage.parse(next(iter(SceneDetector().stream([ask.request])))))
    found = stage.accept(row, [answer])["detections"]
    assert list(found) == ["dog", "kettle", "lamp"]
    assert [len(found[name]["boxes"]) for name in found] == [1, 1, 0]
    x0, y0, x1, y1 = found["dog"]["boxes"][0]
    assert 0 <= x0 < x1 <= picture["generated_width"] and 0 <= y0 < y1 <= picture["generated_height"]


def test_pictures_of_the_input_start_from_the_image_folder(tmp_path: Path) -> None:
    stage = GroundInputObjects({"images": "image"}, Context(run_folder=tmp_path / "run", image_root=tmp_path))
    assert stage.reads == ("image", "input_objects")
    (ask,) = stage.ask({"row_id": 0, "image": "a/b.jpg", "input_objects": ["dog"]}, Random(0))
    assert ask.request.image == str(tmp_path / "a" / "b.jpg")


@pytest.mark.parametrize(
    "row",
    [
        {"generated_image": None, "input_objects": ["dog"]},
        {"generated_image": "", "input_objects": ["dog"]},
        {"generated_image": "a.png", "input_objects": []},
        {"generated_image": "a.png", "input_objects": None},
        {"generated_image": "a.png", "input_objects": ["..."]},
    ],
)
def test_rows_without_a_picture_or_objects_come_out_with_no_detections(row: dict[str, Any]) -> None:
    stage = GroundInputObjects()
    assert stage.ask({"row_id": 0, **row}, Random(0)) == []
    assert stage.accept({"row_id": 0, **row}, []) == {"detections": {}}


def test_detections_are_written_as_cells() -> None:
    stage = GroundInputObjects()
    (ask,) = stage.ask({"row_id": 0, "generated_image": "a.png", "input_objects": ["dog"]}, Random(0))
    found = {"dog": DetectionResult(0.91234567, ((1.23, 2.0, 3.0, 4.0),))}
    assert stage.accept({"row_id": 0}, [Answer(ask, found)])["detections"] == {
        "dog": {"score": 0.9123, "boxes": [[1.2, 2.0, 3.0, 4.0]]}
    }
