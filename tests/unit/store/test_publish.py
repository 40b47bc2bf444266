"""Of many writers exactly one publishes, and a publication that was cut off is finished by the next who comes."""

import os
import threading
from pathlib import Path

import pytest

from shardmill.store.layout import ShardFiles
from shardmill.store.manifest import FileRecord, InputRecord, Manifest, read_manifest
from shardmill.store.publish import archive_files, complete_publication, publish, published_files
from shardmill.util.atomic import file_digest, link_if_absent, new_attempt, write_durably

FILES = ("part", "rejects", "manifest")


def stage_attempt(files: ShardFiles, text: str) -> str:
    """An attempt that has written everything but published nothing."""
    attempt = new_attempt()
    staged = files.staged(attempt)
    write_durably(staged.part, f"part {text}".encode())
    write_durably(staged.rejects, f"rejects {text}".encode())
    records = {
        name: FileRecord(name=final.name, sha256=file_digest(path), bytes=path.stat().st_size)
        for name, path, final in (("part", staged.part, files.part), ("rejects", staged.rejects, files.rejects))
    }
    manifest = Manifest(
        stage="s",
        shard=0,
        num_shards=1,
        rows_in=0,
        rows_out=0,
        rejected=0,
        lines_out=0,
        columns={},
        fingerprint={},
        input=InputRecord(stage="ingest", sha256=""),
        attempt=attempt,
        **records,
    )
    write_durably(staged.manifest, manifest.to_bytes())
    files.journal(attempt).touch()
    return attempt


@pytest.fixture
def files(tmp_path: Path) -> ShardFiles:
    folder = tmp_path / "stage"
    folder.mkdir()
    return ShardFiles(folder, 0, 1)


def assert_one_whole_publication(files: ShardFiles) -> str:
    manifest = read_manifest(files.manifest)
    assert manifest is not None
    assert file_digest(files.part) == manifest.part.sha256
    assert file_digest(files.rejects) == manifest.rejects.sha256
    assert {path.name for path in files.folder.iterdir()} == {files.part.name, files.rejects.name, files.manifest.name}
    return manifest.attempt


def test_the_first_attempt_wins_and_the_late_one_discards_its_own(files: ShardFiles, tmp_path: Path) -> None:
    first, late = stage_attempt(files, "first"), stage_attempt(files, "late")
    assert publish(files, first, tmp_path / "old")[1] is True
    manifest, mine = publish(files, late, tmp_path / "old")
    assert (manifest.attempt, mine) == (first, False)
    assert assert_one_whole_publication(files) == first
    assert files.part.read_text() == "part first"


@pytest.mark.parametrize("published", [1, 2, 3])
def test_a_publication_cut_off_after_any_step_is_finished_with_the_same_files(
    files: ShardFiles, tmp_path: Path, published: int
) -> None:
    dead = stage_attempt(files, "dead")
    staged = files.staged(dead)
    steps = [(staged.part, files.part), (staged.rejects, files.rejects), (staged.manifest, files.manifest)]
    for source, target in steps[:published]:
        assert link_if_absent(source, target)
    other = stage_attempt(files, "other")
    manifest, mine = publish(files, other, tmp_path / "old")
    assert (manifest.attempt, mine) == (dead, False)
    assert assert_one_whole_publication(files) == dead


def test_many_writers_at_once_leave_one_publication(files: ShardFiles, tmp_path: Path) -> None:
    for _ in range(20):
        attempts = [stage_attempt(files, f"writer {index}") for index in range(6)]
        barrier = threading.Barrier(len(attempts))
        results: list[tuple[str, bool]] = []

        def write(attempt: str, barrier: threading.Barrier = barrier, results: list[tuple[str, bool]] = results) -> None:
            barrier.wait()
            manifest, mine = publish(files, attempt, tmp_path / "old")
            results.append((manifest.attempt, mine))

        threads = [threading.Thread(target=write, args=(attempt,)) for attempt in attempts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = assert_one_whole_publication(files)
        assert {attempt for attempt, _ in results} == {winner}
        assert sum(mine for _, mine in results) == 1
        for path in files.folder.iterdir():
            path.unlink()


def test_a_part_that_nobody_vouches_for_is_set_aside(files: ShardFiles, tmp_path: Path) -> None:
    files.part.write_text("whose is this?")
    assert complete_publication(files, tmp_path / "old") is None
    assert not files.part.exists()
    assert (tmp_path / "old" / files.part.name).read_text() == "whose is this?"


def test_a_copied_run_folder_without_its_links_is_finished_too(files: ShardFiles, tmp_path: Path) -> None:
    dead = stage_attempt(files, "dead")
    files.part.write_bytes(files.staged(dead).part.read_bytes())
    complete_publication(files, tmp_path / "old")
    assert assert_one_whole_publication(files) == dead


def test_who_is_slow_to_move_old_files_away_moves_none_that_were_published_since(files: ShardFiles, tmp_path: Path) -> None:
    publish(files, stage_attempt(files, "old"), tmp_path / "old")
    seen_by_slow = published_files(files)
    archive_files(files, tmp_path / "old", published_files(files))
    fresh = stage_attempt(files, "fresh")
    publish(files, fresh, tmp_path / "old")
    archive_files(files, tmp_path / "old", seen_by_slow)
    assert assert_one_whole_publication(files) == fresh


def test_a_file_published_between_the_look_and_the_move_gets_its_name_back(
    files: ShardFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(files, stage_attempt(files, "old"), tmp_path / "old")
    seen_by_slow, rename = published_files(files), os.rename
    fresh: list[str] = []

    def meanwhile(source: Path, target: Path) -> None:
        if not fresh:
            monkeypatch.setattr(os, "rename", rename)
            archive_files(files, tmp_path / "old", seen_by_slow)
            fresh.append(stage_attempt(files, "fresh"))
            publish(files, fresh[0], tmp_path / "old")
        rename(source, target)

    monkeypatch.setattr(os, "rename", meanwhile)
    archive_files(files, tmp_path / "old", seen_by_slow)
    assert assert_one_whole_publication(files) == fresh[0]
