"""Who works on which rows of a shard: leases on blocks of rows, so that idle workers can take a part of a slow shard.

A lease is a file that exactly one worker can create, and that it touches while it works. A lease that is no longer touched, or
whose owner is known to be dead, may be taken over. A wrong takeover (of a node that had only lost contact) costs time and nothing
else, since publishing never overwrites and of a row done twice one answer counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from shardmill.store.layout import ShardFiles
from shardmill.util.atomic import link_if_absent
from shardmill.util.errors import UserError
from shardmill.util.processes import has_ended, machine, process_start
from shardmill.util.safe_files import read_untrusted
from shardmill.util.untrusted import Count, JobId, NodeName

RENEW_SECONDS = 20.0
STALE_SECONDS = 180.0
"""Well above the seconds for which a network file system may show old times, and the skew between the clocks of a cluster."""
MAX_BLOCKS = 16
MIN_ROWS = 32
"""Few enough blocks that leasing costs nothing, small enough that a joining worker finishes one soon."""


class ShardBusy(Exception):
    """All rows of a shard that are left are leased by other workers; try again later."""


@dataclass(frozen=True)
class LeaseOwner:
    """Who has a lease. `machine` tells computers, and containers with process numbers of their own, apart."""

    attempt: str
    machine: str
    pid: Annotated[int, Field(ge=0, lt=2**31)]
    started: str
    node: NodeName = ""
    job: JobId = ""
    restart: Count = 0
    log: str = ""

    def is_dead(self, seen_by: LeaseOwner) -> bool:
        """Its process is gone from this machine, or SLURM has requeued its job, as `seen_by`."""
        if self.job and self.job == seen_by.job and self.restart < seen_by.restart:
            return True
        return self.machine == seen_by.machine and has_ended(self.machine, self.pid, self.started)


_OWNER = TypeAdapter(LeaseOwner)


def read_owner(path: Path) -> LeaseOwner:
    """The owner that a file names. Raises FileNotFoundError, and UserError or ValueError if it names none."""
    return _OWNER.validate_json(read_untrusted(path))


def this_process(attempt: str = "", node: str = "", job: str = "", restart: int = 0, log: str = "") -> LeaseOwner:
    """This process as an owner."""
    return LeaseOwner(attempt, machine(), os.getpid(), process_start(os.getpid()), node, job, restart, log)


def blocks(rows: int) -> list[tuple[int, int]]:
    """The row positions [start, end) of the blocks that a shard of `rows` rows is leased in."""
    count = max(1, min(MAX_BLOCKS, rows // MIN_ROWS))
    return [(rows * index // count, rows * (index + 1) // count) for index in range(count)]


def lease_path(files: ShardFiles, block: int) -> Path:
    """The file of the lease on a block of a shard."""
    return files.leases_folder / f"{files.stem}.block-{block:02d}.claim"


def read_leases(files: ShardFiles, paths: Sequence[Path] | None = None) -> Iterator[tuple[int, LeaseOwner, float]]:
    """The leases on a shard: block, owner, and seconds since the owner last renewed it. `paths` are its leases if known."""
    for path in files.leases() if paths is None else paths:
        with contextlib.suppress(FileNotFoundError, ValueError, LookupError, UserError):
            owner, age = read_owner(path), time.time() - path.stat().st_mtime
            yield int(path.name.split(".block-")[1][:2]), owner, age


def live_blocks(files: ShardFiles, seen_by: LeaseOwner | None = None) -> dict[int, LeaseOwner]:
    """The blocks of a shard that are being worked on, as far as `seen_by` (this process if not given) can tell."""
    return _live(read_leases(files), seen_by or this_process())


def live_blocks_of(shards: Sequence[ShardFiles], seen_by: LeaseOwner | None = None) -> list[dict[int, LeaseOwner]]:
    """The same for several shards of a stage; the folder of its leases is listed once."""
    me = seen_by or this_process()
    by_stem: dict[str, list[Path]] = {files.stem: [] for files in shards}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(shards[0].leases_folder.glob("*.claim") if shards else ()):
            by_stem.get(path.name.partition(".")[0], []).append(path)
    return [_live(read_leases(files, by_stem[files.stem]), me) for files in shards]


def _live(found: Iterator[tuple[int, LeaseOwner, float]], me: LeaseOwner) -> dict[int, LeaseOwner]:
    return {block: owner for block, owner, age in found if age < STALE_SECONDS and not owner.is_dead(me)}


AnyPresence = TypeVar("AnyPresence", bound="Presence")


class Presence:
    """A file that says who is at work. Used as a context: it is touched inside it, and removed at its end."""

    def __init__(self, path: Path, owner: LeaseOwner):
        self.path, self.owner = path, owner
        self._end = threading.Event()

    def __enter__(self: AnyPresence) -> AnyPresence:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(asdict(self.owner)) + "\n", encoding="utf-8")
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self.path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._end.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path)


class Leases(Presence):
    """The leases of one attempt at a shard. Used as a context: they are renewed inside it, and released at its end.

    All of them are hard links to the one file of the attempt, so that touching it renews them all.
    """

    def __init__(self, files: ShardFiles, owner: LeaseOwner):
        super().__init__(files.leases_folder / f"{files.stem}.{owner.attempt}.card.tmp", owner)
        self.files = files
        self._leased: set[int] = set()
        self._inherited: set[int] = set()

    def __exit__(self, *error: object) -> None:
        for block in self._leased:
            path = lease_path(self.files, block)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samefile(path, self.path):
                    path.rename(self._released(block))  # for the worker that takes the block next
        super().__exit__(*error)

    def take(self, block: int) -> bool:
        """Lease a block, from a dead owner if need be. False when another worker has it, or when the shard is complete."""
        path = lease_path(self.files, block)
        try:
            taken = link_if_absent(self.path, path) or self._take_over(block, path)
        except FileNotFoundError:  # the worker that completed the shard has removed the folder's files
            return False
        if taken and block not in self._leased:
            self._leased.add(block)
            with contextlib.suppress(FileNotFoundError):
                self._released(block).unlink()
                self._inherited.add(block)
        return taken

    def was_taken_over(self, block: int) -> bool:
        """Whether another worker had the block before, and may have finished some of its rows."""
        return block in self._inherited

    def _released(self, block: int) -> Path:
        """The name of a lease that its owner released before the shard was complete."""
        return lease_path(self.files, block).with_suffix(".left.tmp")

    def _take_over(self, block: int, path: Path) -> bool:
        if block in live_blocks(self.files, self.owner):
            return False
        stale = self.path.with_name(f"{self.files.stem}.{self.owner.attempt}.stale.tmp")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, stale)
            stale.unlink()
        self._inherited.add(block)
        return link_if_absent(self.path, path)

    def others(self) -> set[int]:
        """The blocks that other workers have leased now."""
        return {block for block in live_blocks(self.files, self.owner) if block not in self._leased}
