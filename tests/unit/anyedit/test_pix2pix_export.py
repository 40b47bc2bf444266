"""Edits are read by `datasets` with the columns that diffusers' InstructPix2Pix training looks up."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pytest

from exported import anyedit, edited, export, parts
from shardmill.models.images import open_image
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

DEFAULTS = {"original_image_column": "input_image", "edit_prompt_column": "edit_prompt", "edited_image_column": "edited_image"}
"""The defaults of `train_instruct_pix2pix.py`."""


def epoch(folder: Path, cache: Path) -> list[dict[str, object]]:
    return list(datasets.load_dataset(str(folder), split="train", cache_dir=str(cache)))


def test_an_epoch_has_the_images_before_and_after_each_instruction(tmp_path: Path) -> None:
    done = export(edited(), "instructpix2pix", tmp_path / "out")
    read, rows = epoch(done.path, tmp_path / "cache"), parts(edited(), "check_edits").to_dicts()
    assert len(read) == len(rows) > 3 and done.record["left_out"] == {}
    for sample, row in zip(read, rows, strict=True):
        before, prompt, after = (sample[column] for column in DEFAULTS.values())
        assert prompt == row["edit"]
        for image, name in ((before, "generated_image"), (after, "edited_image")):
            assert image.tobytes() == open_image(str(edited().path / row[name])).tobytes()  # type: ignore[attr-defined]
        assert (sample["original_prompt"], sample["edited_prompt"]) == (row["edit_input"], row["output"])


def test_an_edit_of_which_an_image_is_gone_is_left_out_and_named(tmp_path: Path) -> None:
    shutil.copytree(edited().path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    gone = parts(run, "check_edits").row(0, named=True)
    (run.path / gone["edited_image"]).unlink()
    done = export(run, "instructpix2pix", tmp_path / "out")
    assert done.record["left_out"] == {"no readable image": 1}
    keys = [(sample["row_id"], sample["sub_id"]) for sample in epoch(done.path, tmp_path / "cache")]
    assert (gone["row_id"], gone["sub_id"]) not in keys and len(keys) == parts(run, "check_edits").height - 1


def test_instructions_without_edited_images_do_not_have_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="instructpix2pix needs edits with edited images"):
        export(anyedit(), "instructpix2pix", tmp_path / "out")
