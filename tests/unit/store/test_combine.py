"""Combine is a verifier: it writes whole stages, or names the shards and the command that mends them."""

from __future__ import annotations

import gc
import json
import shlex
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.store import combine as combine_module
from shardmill.store.combine import combine
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.store.verify import check_stage
from shardmill.util.errors import UserError

STAGE = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    run = make_run()
    for shard in range(4):
        run_shard(run, STAGE, shard)
    return run


def refused(run: RunFolder, out: Path) -> str:
    with pytest.raises(UserError) as error:
        combine(run, STAGE, out)
    assert not out.exists()
    return str(error.value)


def mend(message: str) -> None:
    command = shlex.split(message.rpartition(": ")[2])
    assert command[0] == "shardmill"
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)


def test_every_format_holds_the_same_rows(run: RunFolder, tmp_path: Path) -> None:
    csv = pl.read_csv(combine(run, STAGE, tmp_path / "x.csv").path)
    lines = (combine(run, STAGE, tmp_path / "x.jsonl").path).read_text().splitlines()
    parquet = pl.read_parquet(combine(run, STAGE, tmp_path / "x.parquet").path)
    assert csv["row_id"].to_list() == parquet["row_id"].to_list() == [json.loads(line)["row_id"] for line in lines]
    assert (
        [json.loads(cell) for cell in csv["objects"]]
        == parquet["objects"].to_list()
        == [json.loads(line)["objects"] for line in lines]
    )
    assert csv["row_id"].is_sorted() and csv["row_id"].n_unique() == csv.height


@pytest.mark.parametrize("part_format", ["jsonl", "parquet"])
def test_parts_of_any_format_combine_to_the_same_csv(
    run: RunFolder, make_run: Callable[..., RunFolder], tmp_path: Path, part_format: str
) -> None:
    other = make_run(part_format, part_format=part_format)
    for shard in range(4):
        run_shard(other, STAGE, shard)
    assert (
        combine(other, STAGE, tmp_path / "other.csv").path.read_bytes()
        == combine(run, STAGE, tmp_path / "x.csv").path.read_bytes()
    )


def test_a_missing_shard_is_named_and_can_be_left_out_under_another_name(run: RunFolder, tmp_path: Path) -> None:
    for path in (run.files(STAGE, 2).manifest, run.files(STAGE, 2).part, run.files(STAGE, 2).rejects):
        path.unlink()
    assert "shards 2 of 4 are not finished" in refused(run, tmp_path / "x.csv")
    result = combine(run, STAGE, tmp_path / "x.csv", allow_missing=True)
    assert result.path.name == "x.partial-3-of-4.csv" and result.missing == [2]
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("fault", ["part changed", "part gone", "rejects changed", "rejects gone", "row taken away"])
def test_damage_is_named_and_the_command_in_the_message_mends_it(run: RunFolder, tmp_path: Path, fault: str) -> None:
    whole = combine(run, STAGE, tmp_path / "whole.csv").path.read_bytes()
    files = run.files(STAGE, 1)
    path = files.part if fault.startswith(("part", "row")) else files.rejects
    if fault.endswith("gone"):
        path.unlink()
    elif fault == "row taken away":
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    else:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    message = refused(run, tmp_path / "x.csv")
    assert "shards 1:" in message and "--shard 1 --redo" in message
    mend(message)
    assert combine(RunFolder(run.path), STAGE, tmp_path / "x.csv").path.read_bytes() == whole


def test_a_shard_of_another_fingerprint_is_refused(run: RunFolder, tmp_path: Path) -> None:
    manifest = run.files(STAGE, 3).manifest
    manifest.write_text(manifest.read_text().replace(run.fingerprint(STAGE)["template"], "0" * 64))
    assert "another fingerprint" in refused(run, tmp_path / "x.csv")


def test_a_shard_made_from_an_older_part_is_refused_and_mended(run: RunFolder, tmp_path: Path) -> None:
    for shard in range(4):
        run_shard(run, "propose_negatives", shard)
    manifest = run.manifest(STAGE, 0)
    assert manifest is not None and Shard(run, STAGE, 0).reopen_rejected(manifest)
    run_shard(run, STAGE, 0)
    part = run.files(STAGE, 0)
    again = part.manifest.read_text().replace(run.manifest(STAGE, 0).part.sha256, "f" * 64)  # type: ignore[union-attr]
    part.manifest.write_text(again)
    with pytest.raises(UserError, match="older input part"):
        combine(run, "propose_negatives", tmp_path / "x.csv")


def test_an_unknown_suffix_and_a_folder_are_refused(run: RunFolder, tmp_path: Path) -> None:
    assert ".csv" in refused(run, tmp_path / "x.xlsx")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        combine(run, STAGE, tmp_path / "x.csv")


def test_each_manifest_of_a_stage_and_of_the_one_before_is_read_once(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[tuple[str, int]] = []
    manifest = RunFolder.manifest
    monkeypatch.setattr(RunFolder, "manifest", lambda self, *key: (looked_at.append(key), manifest(self, *key))[1])
    check = check_stage(run, STAGE)
    assert sorted(check.manifests) == [0, 1, 2, 3]
    assert sorted(looked_at) == sorted((stage, shard) for stage in ("ingest", STAGE) for shard in range(4))


def test_parquet_is_written_part_by_part(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of memory is one part's, not the stage's: a part is read when the one before has been let go."""
    alive: list[weakref.ref[pl.DataFrame]] = []
    read = combine_module.read_frame

    def reading(*arguments: Any) -> pl.DataFrame:
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 1
        frame = read(*arguments)
        alive.append(weakref.ref(frame))
        return frame

    monkeypatch.setattr(combine_module, "read_frame", reading)
    out = combine(run, STAGE, tmp_path / "x.parquet").path
    assert len(alive) == 4
    assert pl.read_parquet(out).height == sum(run.read_part(STAGE, shard)[0].height for shard in range(4))


def test_a_stage_whose_rows_were_all_rejected_is_an_empty_parquet_file(
    make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    table = tmp_path / "vague.csv"
    table.write_text("caption\nThe meaning of true happiness\nHow it all began\n")
    run = make_run("vague", input=table, num_shards=2)
    for shard in range(2):
        run_shard(run, STAGE, shard)
    made = pl.read_parquet(combine(run, STAGE, tmp_path / "x.parquet").path)
    assert made.height == 0
    assert made.schema["objects"] == pl.List(pl.String)
