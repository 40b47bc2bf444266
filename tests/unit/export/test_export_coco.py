"""Boxes as pycocotools reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from exported import SAMPLES, antidote, export, finish, json_lines, negbench, parts, sample_rows, selected, write_table
from shardmill.core.planning import NewRun, start_run
from shardmill.export.coco import clipped
from shardmill.models.images import open_image
from shardmill.util.errors import UserError


@pytest.mark.parametrize(("images", "kept"), [("reference", "absolute"), ("copy", "images/00000")])
def test_pycocotools_finds_each_picture_with_the_boxes_of_its_objects(tmp_path: Path, images: str, kept: str) -> None:
    done = export(negbench(), "coco", tmp_path / "out", images=images)
    coco = COCO(str(done.path / "captions.json"))
    rows = parts(negbench(), "caption_negated")
    assert sorted(coco.getImgIds()) == rows["row_id"].to_list()
    for row in rows.iter_rows(named=True):
        image = coco.loadImgs(row["row_id"])[0]
        assert (image["width"], image["height"]) == open_image(str(done.path / image["file_name"])).size
        assert image["file_name"].startswith(kept) or Path(image["file_name"]).is_absolute()
        found = {
            (coco.loadCats(each["category_id"])[0]["name"], *each["bbox"], each["score"])
            for each in coco.loadAnns(coco.getAnnIds(imgIds=row["row_id"]))
        }
        detections, names = json.loads(row["detections"]), json.loads(row["positive_objects"])
        assert found == {
            (name, x0, y0, x1 - x0, y1 - y0, detections[name]["score"])
            for name in names
            for x0, y0, x1, y1 in detections[name]["boxes"]
        }


def test_annotations_can_be_evaluated_and_ids_are_all_different(tmp_path: Path) -> None:
    done = export(antidote(), "coco", tmp_path / "out")
    content = json.loads((done.path / "pictures.json").read_text(encoding="utf-8"))
    ids = [each["id"] for each in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    categories = {each["id"]: each["name"] for each in content["categories"]}
    assert len(set(categories.values())) == len(categories)
    assert {each["category_id"] for each in content["annotations"]} == set(categories)
    coco = COCO(str(done.path / "pictures.json"))
    results = coco.loadRes(
        [{key: each[key] for key in ("image_id", "category_id", "bbox", "score")} for each in content["annotations"]]
    )
    assert len(results.getAnnIds()) == len(ids)
    assert all(np.isclose(each["area"], each["bbox"][2] * each["bbox"][3], atol=0.01) for each in content["annotations"])


def test_a_picture_on_its_side_is_described_upright(tmp_path: Path) -> None:
    picture = open_image(str(SAMPLES / sample_rows(1)[0][0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.jpg", exif=exif, quality=98)
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], [["side.jpg", sample_rows(1)[0][1]]])
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=1)))
    for images in ("reference", "copy"):
        done = export(run, "coco", tmp_path / images, images=images)
        content = json.loads((done.path / "captions.json").read_text(encoding="utf-8"))
        assert [(each["width"], each["height"]) for each in content["images"]] == [picture.size]


def test_a_picture_that_is_gone_is_left_out_with_its_boxes(tmp_path: Path) -> None:
    rows = sample_rows(4)
    (tmp_path / "images").mkdir()
    for image, _ in rows:
        shutil.copy(SAMPLES / image, tmp_path / image)
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=1)))
    gone = parts(run, "caption_negated").row(1, named=True)
    (tmp_path / gone["image"]).unlink()
    for images in ("reference", "copy"):
        done = export(run, "coco", tmp_path / images, images=images)
        content = json.loads((done.path / "captions.json").read_text(encoding="utf-8"))
        assert gone["row_id"] not in {each["id"] for each in content["images"]} | {
            each["image_id"] for each in content["annotations"]
        }
        assert [line["row_id"] for line in json_lines(done.path / "left_out.jsonl")] == [gone["row_id"]]


def test_boxes_are_cut_at_the_border_and_none_is_empty() -> None:
    assert clipped((-5.0, 3.0, 50.0, 70.0), 40, 60) == [0, 3.0, 40, 57.0]
    assert clipped((41.0, 0.0, 50.0, 9.0), 40, 60) is None
    assert clipped((5.0, 9.0, 5.0, 20.0), 40, 60) is None
    assert clipped((float("nan"), 0.0, 10.0, 10.0), 40, 60) is None


def test_a_table_without_boxes_is_not_coco(tmp_path: Path) -> None:
    run = selected(tmp_path / "it", sample_rows(3), 1)
    with pytest.raises(UserError, match="coco needs images with boxes"):
        export(run, "coco", tmp_path / "out")
