"""Preference pairs as Parquet: TRL's names, and images that `datasets` opens."""

from __future__ import annotations

from pathlib import Path

import datasets
import polars as pl
import pytest

from exported import alike, antidote, export, negbench, parts
from shardmill.util.errors import UserError


def test_datasets_reads_pairs_with_open_images_under_trls_names(tmp_path: Path) -> None:
    done = export(antidote(), "dpo-parquet", tmp_path / "out")
    data = datasets.load_dataset(str(done.path), split="train", cache_dir=str(tmp_path / "cache"))
    rows = parts(antidote(), "pair_preferences")
    assert data.num_rows == rows.height > 10
    assert data.column_names == ["images", "prompt", "chosen", "rejected", "id"]
    for line, row in zip(data, rows.iter_rows(named=True), strict=True):
        assert [image.size for image in line["images"]] == [(320, 240)]
        assert line["chosen"] == [{"role": "assistant", "content": row["response"]}]
        assert [message["role"] for message in line["prompt"]] == ["user"]
        assert line["rejected"] != line["chosen"]


def test_files_are_cut_by_size_and_hold_every_pair_once(tmp_path: Path) -> None:
    whole = export(antidote(), "dpo-parquet", tmp_path / "whole").path
    cut = export(antidote(), "dpo-parquet", tmp_path / "cut", max_size=20_000).path
    assert len(list(cut.glob("data/*.parquet"))) > 2
    assert pl.read_parquet(cut / "data" / "*.parquet").equals(pl.read_parquet(whole / "data" / "*.parquet"))


def test_near_duplicates_are_left_out_as_in_the_other_forms(tmp_path: Path) -> None:
    done = export(alike(), "dpo-parquet", tmp_path / "out")
    pairs = pl.read_parquet(done.path / "data" / "*.parquet").height
    assert pairs == export(alike(), "dpo", tmp_path / "jsonl").record["files"]["pairs.trl.jsonl"]["rows"]
    assert done.record["left_out"] == {"near duplicate of an earlier one": parts(alike(), "pair_preferences").height - pairs}


def test_a_run_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dpo-parquet needs preference pairs"):
        export(negbench(), "dpo-parquet", tmp_path / "out")
