"""WebDataset exports are read by Hugging Face `datasets` as the Hub's viewer reads them, whatever the rows hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from exported import SAMPLES, antidote, export, finish, negbench, recaption, sample_rows, selected, write_table
from planted import rewrite_cells
from shardmill.core.planning import NewRun, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import NoRows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def epoch(folder: Path) -> list[dict[str, Any]]:
    """All samples, with opened images."""
    return list(datasets.load_dataset(str(folder), split="train"))


@pytest.mark.parametrize("what", [None, "questions", "full"])
def test_an_epoch_of_negbench_has_each_sample_with_its_image(tmp_path: Path, what: str | None) -> None:
    done = export(negbench(), "webdataset", tmp_path / "out", what=[what] if what else (), max_size=100_000)
    read = epoch(done.path)
    sizes = json.loads((done.path / "sizes.json").read_text(encoding="utf-8"))
    assert len(sizes) > 1 and sum(sizes.values()) == len(read)
    assert set(sizes) == {path.name for path in done.path.glob("*.tar")}
    for sample in read:
        assert sample["png"].size == (320, 240)
        assert isinstance(json.loads(sample["json"]["detections"]), dict)


@pytest.mark.parametrize(("make", "what"), [(antidote, "queries"), (antidote, "pairs"), (recaption, "captions")])
def test_an_epoch_of_each_table_is_read(tmp_path: Path, make: Any, what: str) -> None:
    done = export(make(), "webdataset", tmp_path / "out", what=[what])
    assert len(epoch(done.path)) == sum(json.loads((done.path / "sizes.json").read_text(encoding="utf-8")).values()) > 10


def test_a_column_that_begins_with_missing_values_is_read_to_the_end(tmp_path: Path) -> None:
    shutil.copytree(negbench().path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    late = run.read_part("caption_negated", 2)[0]["row_id"].min()
    rewrite_cells(run, "caption_negated", "detections", lambda found, row: found if row["row_id"] >= late else {})
    rewrite_cells(run, "caption_negated", "negative_objects", lambda found, row: found if row["row_id"] >= late else [])
    done = export(run, "webdataset", tmp_path / "out")
    assert json.loads(epoch(done.path)[-1]["json"]["detections"])


def test_images_of_several_formats_are_one_field(tmp_path: Path) -> None:
    rows = sample_rows(4)
    for row, suffix in zip(rows, ("webp", "png", "jpg", "webp"), strict=True):
        with Image.open(SAMPLES / row[0]) as image:
            row[0] = str(tmp_path / f"{Path(row[0]).stem}.{suffix}")
            image.convert("RGB").save(row[0])
    done = export(selected(tmp_path / "it", rows, 1), "webdataset", tmp_path / "out")
    read = epoch(done.path)
    assert [sample["webp"].format for sample in read] == ["WEBP", "PNG", "JPEG", "WEBP"]


def test_an_image_of_a_format_that_open_clip_does_not_look_for_has_a_suffix_that_it_does(tmp_path: Path) -> None:
    rows = sample_rows(1)
    with Image.open(SAMPLES / rows[0][0]) as image:
        image.convert("RGB").save(tmp_path / "a.tif")
    rows[0][0] = str(tmp_path / "a.tif")
    done = export(selected(tmp_path / "it", rows, 1), "webdataset", tmp_path / "out")
    assert [sample["jpg"].format for sample in epoch(done.path)] == ["TIFF"]


def test_an_image_without_a_text_is_left_out_and_named(tmp_path: Path) -> None:
    shutil.copytree(recaption().path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    rewrite_cells(run, "check_captions", "checked", lambda checked, row: [] if row["row_id"] == 1 else checked)
    done = export(run, "webdataset", tmp_path / "out", what=["captions"])
    assert done.record["left_out"] == {"no text": 1}
    assert all(sample["txt"] for sample in epoch(done.path))


def test_a_run_of_which_no_sample_is_left_is_refused_and_leaves_no_card(tmp_path: Path) -> None:
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], [["gone.png", "A dog sits on a red sofa."]])
    new = NewRun(input=table, settings=("filter_objects.unverified=keep",))
    with pytest.raises(NoRows, match="all were left out"):
        export(finish(start_run(tmp_path / "run", new)), "webdataset", tmp_path / "out")
    assert not (tmp_path / "out" / "README.md").exists()
