"""The folder of a stage has three files for each of its shards. It is listed seldom: on a shared disk that costs most."""

import os
from pathlib import Path

import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.layout import ShardFiles, begun_shards
from shardmill.store.leases import blocks, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.tables.ingest import ingest


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    table = write_captions(tmp_path / "captions.csv", CAPTIONS)
    return start_run(tmp_path / "run", NewRun(input=table, num_shards=2, settings=("filter_objects.unverified=keep",)))


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed from now on, once for each time."""
    found: list[Path] = []
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": (found.append(Path(path)), scandir(path))[1])
    monkeypatch.setattr(os, "listdir", lambda path=".": (found.append(Path(path)), listdir(path))[1])
    return found


def test_a_shard_lists_its_stage_when_it_starts_when_it_is_written_and_when_it_is_tidied(
    run: RunFolder, listed: list[Path]
) -> None:
    run_shard(run, "extract_objects", 0)
    assert listed.count(run.folder("extract_objects")) == 3
    assert run.folder("ingest") not in listed


def test_a_worker_that_is_alone_does_not_list_its_stage_for_each_block_of_rows(tmp_path: Path, listed: list[Path]) -> None:
    table = write_captions(tmp_path / "many.csv", CAPTIONS * 30)
    run = start_run(tmp_path / "many", NewRun(input=table, num_shards=1, settings=("filter_objects.unverified=keep",)))
    made = run_shard(run, "extract_objects", 0, owner=this_process())
    assert len(blocks(made.rows_in)) > 3
    assert listed.count(run.folder("extract_objects")) == 3


def test_what_attempts_left_is_found_by_its_shard_alone(tmp_path: Path) -> None:
    files, neighbour = ShardFiles(tmp_path / "stage", 1, 12), ShardFiles(tmp_path / "stage", 11, 12)
    files.leases_folder.mkdir(parents=True)
    files.folder.mkdir()
    staged = files.staged("1700000000000-n-2-abcdef")
    own = [files.journal("1700000000000-n-1-abcdef"), staged.part, staged.rejects, staged.manifest]
    claims = [files.leases_folder / f"{files.stem}.block-00.claim", files.leases_folder / f"{files.stem}.a.card.tmp"]
    others = [neighbour.journal("1700000000000-n-1-abcdef"), files.part, files.rejects, files.manifest]
    for path in (*own, *claims, *others):
        path.touch()
    assert set(files.temporaries()) == {*own, *claims}
    assert files.journals() == own[:1]
    assert files.leases() == claims[:1]


def test_a_stage_that_nobody_has_begun_has_left_nothing(tmp_path: Path) -> None:
    assert ShardFiles(tmp_path / "stage", 0, 1).temporaries() == []


def test_ingest_lists_its_folder_twice_however_many_shards_it_cuts(tmp_path: Path, listed: list[Path]) -> None:
    table = write_captions(tmp_path / "many.csv", CAPTIONS * 10)
    new = NewRun(input=table, num_shards=40, settings=("filter_objects.unverified=keep",))
    run = start_run(tmp_path / "many", new)
    assert listed.count(run.folder("ingest")) == 2
    assert start_run(tmp_path / "many", new).num_shards == 40
    assert listed.count(run.folder("ingest")) == 3


def test_what_a_killed_ingest_left_goes_with_the_next(run: RunFolder, tmp_path: Path) -> None:
    manifest = run.files("ingest", 0).manifest.read_bytes()
    for shard in (0, 1):
        run.files("ingest", shard).staged("1700000000000-n-1-abcdef").part.write_text("torn")
    run.files("ingest", 1).manifest.unlink()
    ingest(run)
    assert begun_shards(run.folder("ingest"), 2) == set()
    assert run.files("ingest", 0).manifest.read_bytes() == manifest
    assert run.is_complete("ingest", 1)
