"""Publishing a finished shard: of many writers exactly one wins, and a crash leaves nothing half published.

An attempt first writes part, rejects and manifest under names of its own, durably. Then the part's final name is taken by a hard
link: that link decides; it is never overwritten and never removed, so there is exactly one winner. Rejects and manifest
follow, by whoever comes first: the winner, or a later attempt that finds the part of a dead one. The manifest is last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from shardmill.store.layout import ShardFiles
from shardmill.store.manifest import Manifest, read_manifest
from shardmill.util.atomic import file_digest, identity, link_if_absent, set_aside, sync_folder
from shardmill.util.errors import PlanChanged

PublishedFiles = Mapping[Path, tuple[int, int] | None]


def publish(files: ShardFiles, attempt: str, superseded: Path, *, tidy: bool = True) -> tuple[Manifest, bool]:
    """Publish the staged files of `attempt`, unless another attempt was first.

    Returns the manifest on disk, and whether it is this attempt's. The staged files must be durable. The journals and
    temporary files of all attempts are gone afterwards; without `tidy` only this attempt's staged files are.
    """
    staged = files.staged(attempt)
    sync_folder(files.folder)
    with contextlib.suppress(FileNotFoundError):  # a faster attempt has published and tidied up
        link_if_absent(staged.part, files.part)
    manifest = complete_publication(files, superseded, attempt, tidy=tidy)
    if manifest is None:
        raise PlanChanged(f"{files.part} was removed while shard {files.index} was being published; run the shard again")
    return manifest, manifest.attempt == attempt


def complete_publication(
    files: ShardFiles, superseded: Path, attempt: str | None = None, *, tidy: bool = True
) -> Manifest | None:
    """Finish a publication that was begun and cut off; returns the manifest if the shard is complete.

    A part or rejects file that belongs to no attempt is moved to `superseded`. `attempt` is the likely owner, if one is known:
    then the folder need not be listed to find it, nor, without `tidy`, to find what other attempts have left.
    """
    seen = published_files(files)
    manifest = read_manifest(files.manifest)
    if manifest is None and files.part.exists():
        owner = attempt if attempt is not None and _is_of(files, attempt) else _owner(files)
        if owner is None:
            manifest = read_manifest(files.manifest)  # the owner may have finished since the first check
            if manifest is None:
                archive_files(files, superseded, seen)
        else:
            manifest = _complete(files, owner)
    if manifest is not None:
        for path in files.staged(attempt) if attempt is not None and not tidy else files.temporaries():
            path.unlink(missing_ok=True)
    return manifest


def published_files(files: ShardFiles) -> PublishedFiles:
    """The files that have the final names of a shard now."""
    return {path: identity(path) for path in (files.manifest, files.rejects, files.part)}


def archive_files(files: ShardFiles, superseded: Path, seen: PublishedFiles) -> None:
    """Move a shard's published files to `superseded`. The part goes last: its name decides who publishes.

    Only the files that were `seen`: a worker that is slow at this must not move what a faster one has published since.
    """
    for path, file in seen.items():
        if file is not None:
            set_aside(path, superseded, only=file)


def withdraw(files: ShardFiles, attempt: str, superseded: Path) -> None:
    """Take back what an attempt has staged or published; what it has published is kept in `superseded`."""
    for path in files.staged(attempt):
        path.unlink(missing_ok=True)
    seen = published_files(files)
    manifest = read_manifest(files.manifest)
    if manifest is not None and manifest.attempt == attempt:
        archive_files(files, superseded, seen)


def _owner(files: ShardFiles) -> str | None:
    """The attempt whose part has the final name: the same inode, or the same digest where a copy lost the link."""
    attempts = files.staged_attempts()
    for attempt in attempts:
        if _is_of(files, attempt):
            return attempt
    digest = file_digest(files.part) if attempts else ""
    for attempt in attempts:
        manifest = read_manifest(files.staged(attempt).manifest)
        if manifest is not None and manifest.part.sha256 == digest:
            return attempt
    return None


def _is_of(files: ShardFiles, attempt: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samefile(files.staged(attempt).part, files.part)
    return False


def _complete(files: ShardFiles, owner: str) -> Manifest | None:
    staged = files.staged(owner)
    try:
        link_if_absent(staged.rejects, files.rejects)
        link_if_absent(staged.manifest, files.manifest)
    except FileNotFoundError:  # someone else completed it and tidied up
        pass
    return read_manifest(files.manifest)
