"""A run that two users of one group work on: umask 002 and a folder that hands its group on, with real file permissions."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.export.make import export
from shardmill.launch.finish import build_datasets
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.publish import complete_publication
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard

ALICE, BOB, MALLORY, TEAM, OTHERS = 61_001, 61_002, 61_003, 61_100, 61_200
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as several users")


@contextmanager
def acting_as(user: int, group: int = TEAM) -> Iterator[None]:
    """Do what this thread does to files as another user, who has nothing of root's rights."""
    libc = ctypes.CDLL(None)
    before = os.umask(0o002)
    libc.setfsgid(group)
    libc.setfsuid(user)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)
        os.umask(before)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of the group, where all of these users get to."""
    folder = Path(tempfile.mkdtemp(prefix="shared-run-"))
    os.chown(folder, ALICE, TEAM)
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run(shared: Path, tmp_path: Path) -> RunFolder:
    """Alice's run, with one finished shard in its first stage."""
    options = {"num_shards": 2, "settings": ("filter_objects.unverified=keep",)}
    warm = start_run(tmp_path / "warm", NewRun(input=write_captions(tmp_path / "c.csv", CAPTIONS), **options))  # type: ignore[arg-type]
    for stage in warm.stages:  # as another user, Python may not be able to read its own modules
        for shard in range(2):
            run_shard(warm, stage, shard)
    build_datasets(warm)
    with acting_as(ALICE):
        captions = write_captions(shared / "captions.csv", CAPTIONS)
        run = start_run(shared / "run", NewRun(input=captions, **options))  # type: ignore[arg-type]
        run_shard(run, "extract_objects", 0)
    return run


def owners(run: RunFolder) -> set[tuple[int, int]]:
    return {(path.stat().st_uid, path.stat().st_gid) for path in run.path.rglob("*")}


def test_what_one_begins_another_goes_on_with(run: RunFolder) -> None:
    with acting_as(BOB):
        for stage in run.stages:
            for shard in range(2):
                run_shard(run, stage, shard)
        build_datasets(run)
        JobsFolder(run).note_failure(Failure(stage="extract_objects", shard=0, kind="died", message="x", node="n1"))
    assert owners(run) == {(ALICE, TEAM), (BOB, TEAM)}
    with acting_as(ALICE):
        JobsFolder(run).forget_failures("extract_objects")
        again = redo(RunFolder(run.path), "caption_negated")
        for stage in again.stages:
            for shard in range(2):
                run_shard(again, stage, shard)
        build_datasets(again)
        export(again, "parquet", run.path / "exports" / "all")


def test_a_publication_that_one_began_another_completes(run: RunFolder) -> None:
    files = run.files("extract_objects", 0)
    with acting_as(ALICE):
        attempt = "1700000000000-n1-1-abcdef"
        staged = files.staged(attempt)
        files.rejects.rename(staged.rejects)
        files.manifest.rename(staged.manifest)
        os.link(files.part, staged.part)
    with acting_as(BOB):
        manifest = complete_publication(files, run.superseded)
        assert manifest is not None and files.manifest.exists() and files.rejects.exists()
        assert Shard(run, "extract_objects", 0).reopen_rejected(manifest) == manifest.rejected


def test_who_is_not_in_the_group_reads_and_cannot_write(run: RunFolder) -> None:
    with acting_as(MALLORY, OTHERS):
        assert run.manifest("extract_objects", 0) is not None
        with pytest.raises(PermissionError):
            run_shard(run, "extract_objects", 1)
        with pytest.raises(PermissionError):
            (run.path / "elsewhere").symlink_to("/tmp")
