"""Captions as pycocotools reads them: an image once, with all its captions."""

from __future__ import annotations

import shutil
from pathlib import Path

from pycocotools.coco import COCO

from exported import SAMPLES, export, json_lines, negbench, parts, recaption, sample_rows, selected
from shardmill.models.images import open_image


def test_pycocotools_finds_the_captions_of_each_picture(tmp_path: Path) -> None:
    done = export(negbench(), "coco-captions", tmp_path / "out", images="copy")
    coco = COCO(str(done.path / "captions.captions.json"))
    rows = parts(negbench(), "caption_negated")
    assert coco.getImgIds() == rows["row_id"].to_list()
    for row_id, texts in rows.select("row_id", "negative_captions").iter_rows():
        image = coco.loadImgs(row_id)[0]
        assert (image["width"], image["height"]) == open_image(str(done.path / image["file_name"])).size
        assert all(each["caption"] in texts for each in coco.loadAnns(coco.getAnnIds(imgIds=row_id)))
    assert done.record["files"]["captions.captions.json"]["annotations"] == len(coco.getAnnIds()) >= rows.height


def test_five_lines_of_one_picture_are_one_image_with_five_captions_also_across_shards(tmp_path: Path) -> None:
    image = sample_rows(1)[0][0]
    rows = [[image, f"A dog on a sofa, number {number}"] for number in range(5)] + sample_rows(3)[1:]
    done = export(selected(tmp_path / "it", rows, num_shards=4), "coco-captions", tmp_path / "out")
    coco = COCO(str(done.path / "captions.captions.json"))
    assert len(coco.getImgIds()) == 3
    first = coco.getImgIds()[0]
    assert coco.loadImgs(first)[0]["file_name"] == str(SAMPLES / image)
    captions = [each["caption"] for each in coco.loadAnns(coco.getAnnIds(imgIds=first))]
    assert captions == [text for _, text in rows[:5]]


def test_every_text_of_a_recaptioned_picture_is_a_caption_of_its_own(tmp_path: Path) -> None:
    done = export(recaption(), "coco-captions", tmp_path / "out")
    name = next(name for name in done.record["files"] if name.endswith(".captions.json"))
    coco = COCO(str(done.path / name))
    ids = [each["id"] for each in coco.loadAnns(coco.getAnnIds())]
    assert ids == list(range(1, len(ids) + 1)) and len(ids) > 2 * len(coco.getImgIds())
    assert all(each["caption"].strip() for each in coco.loadAnns(ids))


def test_a_picture_that_is_gone_is_left_out_with_its_captions(tmp_path: Path) -> None:
    gone = Path(shutil.copy(SAMPLES / sample_rows(1)[0][0], tmp_path / "gone.png"))
    run = selected(tmp_path / "it", [[str(gone), "A dog on a sofa"], *sample_rows(2)], num_shards=1)
    gone.unlink()
    done = export(run, "coco-captions", tmp_path / "out")
    coco = COCO(str(done.path / "captions.captions.json"))
    left_out = [line["row_id"] for line in json_lines(done.path / "left_out.jsonl")]
    assert left_out == [0] and 0 not in {each["image_id"] for each in coco.loadAnns(coco.getAnnIds())}
