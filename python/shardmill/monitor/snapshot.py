"""A run's files at one moment: each folder is listed once and each file is read once."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from shardmill.store.finished import FinishedShard, ManifestReader
from shardmill.store.layout import ATTEMPT
from shardmill.store.leases import LeaseOwner, live_blocks, read_owner, this_process
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.errors import UserError
from shardmill.util.processes import is_running
from shardmill.util.safe_files import read_untrusted

OF_SHARD = re.compile(r"part-(\d+)-of-(\d+)(\.json|\.[^/]+\.journal|\.block-\d+\.claim)")


class Version(NamedTuple):
    """A file with the same name and version is the same file."""

    inode: int
    changed: int
    size: int


@dataclass
class Memory:
    """What was read before and need not be read again: manifests, and the lines of journals up to some byte."""

    manifests: dict[str, dict[int, tuple[Version, FinishedShard | None]]] = field(default_factory=dict)
    lines: dict[str, tuple[int, int]] = field(default_factory=dict)
    reader: ManifestReader = field(default_factory=ManifestReader)


@dataclass
class Writing:
    """The journals of an unfinished shard: finished rows, when the newest was begun and when one was last written to."""

    rows: int = 0
    begun: float = 0.0
    written: float = 0.0


@dataclass
class _Listing:
    manifests: dict[int, FinishedShard] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    journals: dict[int, list[os.DirEntry[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot(RunFolder):
    """A run folder that is read once.

    A damaged manifest counts as none, as does one whose part or rejects are gone; they are listed in `damaged` and `missing`.
    """

    memory: Memory = field(default_factory=Memory, compare=False)

    def _read_finished(self, stage: str, shards: Sequence[int]) -> Iterator[tuple[int, FinishedShard]]:
        listed = self._listed(stage).manifests
        return ((shard, listed[shard]) for shard in shards if shard in listed)

    @property
    def damaged(self) -> list[str]:
        return [path for stage in [INGEST, *self.stages] for path in self._listed(stage).damaged]

    @property
    def missing(self) -> list[str]:
        return [path for stage in [INGEST, *self.stages] for path in self._listed(stage).missing]

    def writing(self, stage: str) -> dict[int, Writing]:
        """The journals of each shard of a stage. Those of workers that have died are not written any more."""
        found = {}
        owners = self._owners(stage)
        for shard, entries in self._listed(stage).journals.items():
            found[shard] = state = Writing()
            for entry in entries:
                try:
                    written = 0.0 if has_died(entry.name, owners) else entry.stat().st_mtime
                    state.written = max(state.written, written)
                    state.rows += max(self._lines(entry.path) - 1, 0)
                except FileNotFoundError:
                    continue
                state.begun = max(state.begun, begun(entry.name))
        return found

    def lease_owners(self, stage: str) -> dict[int, list[LeaseOwner]]:
        """The owners of live leases on each shard of a stage, one for each worker."""
        me = this_process()
        matches = [self._match(entry.name) for entry in _entries(self.path / "jobs" / "claims" / stage)]
        found = {}
        for shard in {int(match[1]) for match in matches if match}:
            owners = {owner.attempt: owner for owner in live_blocks(self.files(stage, shard), me).values()}
            if owners:
                found[shard] = list(owners.values())
        return found

    def _owners(self, stage: str) -> dict[str, LeaseOwner]:
        """Who has said to be at work on the stage, by attempt; the dead as well."""
        found = {}
        for entry in _entries(self.path / "jobs" / "claims" / stage):
            if entry.name.endswith(".card.tmp"):
                with suppress(FileNotFoundError, ValueError, UserError):
                    owner = read_owner(Path(entry.path))
                    found[owner.attempt] = owner
        return found

    @cached_property
    def _listings(self) -> dict[str, _Listing]:
        return {}

    def _listed(self, stage: str) -> _Listing:
        if stage not in self._listings:
            self._listings[stage] = listing = _Listing()
            entries = _entries(self.folder(stage))
            for entry in entries:
                match = self._match(entry.name) if entry.name.endswith((".json", ".journal")) else None
                if match is not None and match[3] == ".json":
                    self._note_manifest(listing, stage, int(match[1]), entry)
                elif match is not None:
                    listing.journals.setdefault(int(match[1]), []).append(entry)
            names = {entry.name for entry in entries}
            beside = (self.plan.part_format, "rejects.csv")
            for shard in sorted(listing.manifests):
                stem = f"part-{shard:05d}-of-{self.num_shards:05d}"
                absent = [self.folder(stage) / name for suffix in beside if (name := f"{stem}.{suffix}") not in names]
                gone = [path for path in absent if not path.exists()]  # it may have come since the folder was listed
                if gone:
                    del listing.manifests[shard]
                    listing.missing += map(str, gone)
        return self._listings[stage]

    def _match(self, name: str) -> re.Match[str] | None:
        match = OF_SHARD.fullmatch(name)
        return match if match and int(match[2]) == self.num_shards and int(match[1]) < self.num_shards else None

    def _note_manifest(self, listing: _Listing, stage: str, shard: int, entry: os.DirEntry[str]) -> None:
        try:
            stat = entry.stat()
        except FileNotFoundError:
            return
        version = Version(stat.st_ino, stat.st_mtime_ns, stat.st_size)
        read = self.memory.manifests.setdefault(stage, {})
        known = read.get(shard)
        if known is None or known[0] != version:
            try:
                known = (version, self.memory.reader.read(shard, read_untrusted(entry.path)))
            except FileNotFoundError:
                return
            except (UserError, ValueError):
                known = (version, None)
                listing.damaged.append(entry.path)
            read[shard] = known
        elif known[1] is None:
            listing.damaged.append(entry.path)
        if known[1] is not None:
            listing.manifests[shard] = known[1]

    def _lines(self, path: str) -> int:
        """The whole lines of a file that only grows."""
        end, lines = self.memory.lines.get(path, (0, 0))
        with open(path, "rb") as file:
            file.seek(end)
            while block := file.read(1 << 20):
                lines += block.count(b"\n")
                end += len(block)
        self.memory.lines[path] = (end, lines)
        return lines


def has_died(journal: str, owners: Mapping[str, LeaseOwner]) -> bool:
    """Whether the process that wrote a journal is known to have ended: by what it said of itself, or by the journal's name."""
    match = ATTEMPT.search(journal)
    if match is None:
        return False
    if match[1] in owners:
        return owners[match[1]].is_dead(this_process())
    host, _, pid = match[1].partition("-")[2].rpartition("-")[0].rpartition("-")
    return host == socket.gethostname().split(".")[0] and pid.isdigit() and not is_running(int(pid))


def begun(name: str) -> float:
    """When the attempt that a file is named after began."""
    match = ATTEMPT.search(name)
    return int(match[1][:13]) / 1000 if match else 0.0


def _entries(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
