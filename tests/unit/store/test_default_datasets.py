"""A pipeline without datasets of its own gets its last stages in three formats, with a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from conftest import run_first_shards
from shardmill.core.shard_runner import run_shard
from shardmill.store.default_datasets import build_default
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

MakeRun = Callable[..., RunFolder]


def finish(run: RunFolder, shards: int) -> RunFolder:
    for stage in run.stages:
        for shard in range(shards):
            run_shard(run, stage, shard)
    return run


def test_every_last_stage_is_written_in_three_formats(make_run: MakeRun, tmp_path: Path) -> None:
    run = finish(make_run(num_shards=2), 2)
    result = build_default(run, tmp_path / "out")
    leaves = run.leaves()
    assert len(leaves) > 1
    assert {path.name for path in result.files} == {
        "dataset.json", *(f"{stage}.{suffix}" for stage in leaves for suffix in ("csv", "jsonl", "parquet"))
    }  # fmt: skip
    for stage in leaves:
        rows = pl.concat([run.read_part(stage, shard)[0] for shard in range(2)])
        parquet = pl.read_parquet(tmp_path / "out" / f"{stage}.parquet")
        lines = [json.loads(line) for line in (tmp_path / "out" / f"{stage}.jsonl").read_text().splitlines()]
        table = pl.read_csv(tmp_path / "out" / f"{stage}.csv", infer_schema=False)
        assert parquet["row_id"].to_list() == [line["row_id"] for line in lines] == rows["row_id"].to_list()
        assert table["caption"].to_list() == rows["caption"].to_list()
        assert result.files[tmp_path / "out" / f"{stage}.csv"] == rows.height
    card = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert card["shards"] == {"used": 2, "missing": [], "of": 2}


def test_an_unfinished_run_is_refused_unless_its_finished_shards_are_enough(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(num_shards=3)
    run_first_shards(run, 2)
    with pytest.raises(UserError, match="shards 2 of 3"):
        build_default(run, tmp_path / "out")
    result = build_default(run, tmp_path / "out", allow_missing=True)
    assert result.missing == [2]
    assert all("partial-2-of-3" in path.name for path in result.files)
