"""Finished shards of which a file is gone or cut off: they are opened again, so that a launch makes them anew."""

from __future__ import annotations

from collections.abc import Iterator

from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.layout import ShardFiles
from shardmill.store.manifest import FileRecord, read_manifest
from shardmill.store.publish import archive_files, published_files
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.errors import UserError


def damaged_shards(run: RunFolder) -> Iterator[tuple[str, int, str]]:
    """The finished shards of which the part, the rejects or the manifest is not as it was published, and what is wrong."""
    for stage in [INGEST, *run.stages]:
        names = _names(run, stage)
        for shard in range(run.num_shards):
            files = run.files(stage, shard)
            if files.manifest.name in names and (problem := _problem(files)):
                yield stage, shard, problem


def _names(run: RunFolder, stage: str) -> set[str]:
    try:
        return {path.name for path in run.folder(stage).iterdir()}
    except FileNotFoundError:
        return set()


def _problem(files: ShardFiles) -> str:
    try:
        manifest = read_manifest(files.manifest)
    except UserError:
        return f"{files.manifest.name} is corrupt"
    if manifest is None:
        return ""
    recorded: tuple[tuple[str, FileRecord], ...] = (("part", manifest.part), ("rejects", manifest.rejects))
    for what, record in recorded:
        path = files.part if what == "part" else files.rejects
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return f"{path.name} is missing"
        if size != record.bytes:
            return f"{path.name} has {size:,} bytes instead of {record.bytes:,}"
    return ""


def repair(run: RunFolder) -> list[str]:
    """Open such shards again; what is left of them is archived. Returns what was wrong with each."""
    if next(damaged_shards(run), None) is None:
        return []
    return _reopened(run)


@one_change_at_a_time
def _reopened(run: RunFolder) -> list[str]:
    found = []
    for stage, shard, problem in list(damaged_shards(run)):
        files = run.files(stage, shard)
        archive_files(files, run.superseded / stage, published_files(files))
        found.append(f"{stage} shard {shard}: {problem}; it is made again")
    return found
