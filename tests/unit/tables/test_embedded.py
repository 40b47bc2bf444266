"""Pictures inside of a Parquet input are found by their row in it: a run refuses any other file in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from exported import SAMPLES, export, finish, sample_rows
from shardmill.audit import sample as audit
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.quality.gather import gather
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

ROWS = 6
CHANGED = "changed since the run was planned"


def write(path: Path, rows: list[list[str]]) -> None:
    pictures = [(SAMPLES / image).read_bytes() for image, _ in rows]
    pl.DataFrame({"image": pictures, "caption": [caption for _, caption in rows]}).write_parquet(path, compression="uncompressed")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Planned, with nothing done but ingest."""
    write(tmp_path / "t.parquet", sample_rows(ROWS))
    return start_run(tmp_path / "run", NewRun(input=tmp_path / "t.parquet", num_shards=1, pipeline="recaption"))


def swap_pictures(path: Path) -> None:
    """The same file with its rows the other way round, and as large."""
    size = path.stat().st_size
    write(path, sample_rows(ROWS)[::-1])
    assert path.stat().st_size == size


@pytest.mark.parametrize("change", [swap_pictures, lambda path: os.truncate(path, 3_000), os.unlink])
def test_a_worker_rejects_no_row_when_the_file_with_the_pictures_is_another(
    run: RunFolder, change: Callable[[Path], None]
) -> None:
    path = Path(run.plan.input.path)
    before = path.read_bytes()
    change(path)
    with pytest.raises(UserError, match=f"{CHANGED}|was not found"):
        run_shard(run, run.stages[0], 0)
    path.write_bytes(before)
    assert run_shard(run, run.stages[0], 0).rows_out == ROWS


def test_pictures_of_other_rows_are_neither_exported_nor_shown(run: RunFolder, tmp_path: Path) -> None:
    finish(run)
    export(run, "webdataset", tmp_path / "before")
    swap_pictures(Path(run.plan.input.path))
    for look in (
        lambda: export(run, "webdataset", tmp_path / "out"),
        lambda: gather(run, rows=4),
        lambda: audit.draw_sample(run, 4),
    ):
        with pytest.raises(UserError, match=CHANGED):
            look()


def test_a_report_does_without_pictures_that_are_not_here(run: RunFolder) -> None:
    finish(run)
    os.unlink(run.plan.input.path)
    assert gather(run, rows=4).cards
