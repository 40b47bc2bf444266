"""MDS shards hold every row once, with its image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from exported import HOSTILE_TEXTS, SAMPLES, export, json_lines, negbench, parts, recaption, sample_rows, selected
from mds import read_mds


def test_every_row_comes_back_with_its_image_and_typed_columns(tmp_path: Path) -> None:
    done = export(negbench(), "mds", tmp_path / "out")
    rows = list(parts(negbench(), "caption_negated").iter_rows(named=True))
    for sample, row in zip(read_mds(done.path), rows, strict=True):
        assert sample["row_id"] == row["row_id"]
        assert sample["negative_captions"] == json.loads(row["negative_captions"])
        assert sample["detections"] == json.loads(row["detections"])
        assert sample["image"].size == (320, 240)
        assert sample["image"].format == "PNG" or row["image"].endswith("jpg")
    assert done.record["files"]["shard.00000.mds"]["rows"] == len(rows)


def test_shards_keep_to_the_size_and_lose_no_row(tmp_path: Path) -> None:
    done = export(recaption(), "mds", tmp_path / "out", max_size=20_000)
    shards = sorted(done.path.glob("*.mds"))
    assert len(shards) > 2 and all(path.stat().st_size <= 20_000 for path in shards)
    whole = list(read_mds(export(recaption(), "mds", tmp_path / "whole").path))
    cut = list(read_mds(done.path))
    assert [each["row_id"] for each in cut] == [each["row_id"] for each in whole]
    assert [each["caption"] for each in cut][:3] == HOSTILE_TEXTS


def test_images_can_be_referenced_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    gone = Path(shutil.copy(SAMPLES / sample_rows(1)[0][0], tmp_path / "gone.png"))
    run = selected(tmp_path / "it", [[str(gone), "A dog on a sofa"], *sample_rows(2)], num_shards=1)
    gone.unlink()
    done = export(run, "mds", tmp_path / "out")
    assert [each["row_id"] for each in read_mds(done.path)] == [1, 2]
    assert [line["row_id"] for line in json_lines(done.path / "left_out.jsonl")] == [0]
    paths = [each["image"] for each in read_mds(export(run, "mds", tmp_path / "paths", images="reference").path)]
    assert paths == [str(gone), *(str(SAMPLES / image) for image, _ in sample_rows(2))]
