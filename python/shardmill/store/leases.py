"""Who works on which rows of a shard: exclusive claims on blocks of rows, so that idle workers can take a part of a slow shard.

A claim is a file that exactly one worker can create, and that it touches while it works. One that is touched no more, or whose
worker is known to be dead, may be taken over. A wrong takeover (a node that only lost contact works on) costs time and nothing
else, since publishing never overwrites and of a row done twice one answer counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shardmill.store.atomic import link_if_absent
from shardmill.store.layout import ShardFiles

BEAT_SECONDS = 20.0
STALE_SECONDS = 180.0
"""Well above the seconds for which a network file system may show old times, and the skew between the clocks of a cluster."""
MAX_BLOCKS = 16
MIN_ROWS = 32
"""Few enough blocks that claiming costs nothing, small enough that a helper finishes one soon."""


class ShardBusy(Exception):
    """All rows of a shard that are left are other workers' now. Look again later."""


@dataclass(frozen=True)
class LeaseOwner:
    """Who holds a claim. `machine` tells computers, and containers with process numbers of their own, apart."""

    attempt: str
    machine: str
    pid: int
    started: str
    node: str = ""
    job: str = ""
    restart: int = 0
    log: str = ""

    def is_dead(self, seen_by: LeaseOwner) -> bool:
        """Its process is gone from this machine, or SLURM has given its job up and started it again, as `seen_by`."""
        if self.job and self.job == seen_by.job and self.restart < seen_by.restart:
            return True
        return self.machine == seen_by.machine and process_start(self.pid) != self.started


def this_process(attempt: str = "", node: str = "", job: str = "", restart: int = 0, log: str = "") -> LeaseOwner:
    """The holder that this process is."""
    return LeaseOwner(attempt, _machine(), os.getpid(), process_start(os.getpid()), node, job, restart, log)


def process_start(pid: int) -> str:
    """When a process of this machine started, in clock ticks since boot; empty when there is none (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    with contextlib.suppress(OSError):
        return f"{boot.read_text().strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    return os.uname().nodename


def blocks(rows: int) -> list[tuple[int, int]]:
    """The row positions [start, end) of the blocks that a shard of `rows` rows is claimed in."""
    count = max(1, min(MAX_BLOCKS, rows // MIN_ROWS))
    return [(rows * index // count, rows * (index + 1) // count) for index in range(count)]


def claim_path(files: ShardFiles, block: int) -> Path:
    return files.claims_folder / f"{files.stem}.block-{block:02d}.claim"


def read_claims(files: ShardFiles, paths: Sequence[Path] | None = None) -> Iterator[tuple[int, LeaseOwner, float]]:
    """The claims on a shard: block, holder, and seconds since the holder last touched it. `paths` are its claims if known."""
    for path in files.claims() if paths is None else paths:
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            with open(path, encoding="utf-8") as file:
                holder = LeaseOwner(**json.load(file))
                age = time.time() - os.fstat(file.fileno()).st_mtime
            yield int(path.name.split(".block-")[1][:2]), holder, age


def live_blocks(files: ShardFiles, seen_by: LeaseOwner | None = None) -> dict[int, LeaseOwner]:
    """The blocks of a shard that somebody works on, as far as `seen_by` (this process if not given) can tell."""
    return _live(read_claims(files), seen_by or this_process())


def live_blocks_of(shards: Sequence[ShardFiles], seen_by: LeaseOwner | None = None) -> list[dict[int, LeaseOwner]]:
    """The same of several shards of a stage, from one look at the folder of its claims."""
    me = seen_by or this_process()
    by_stem: dict[str, list[Path]] = {files.stem: [] for files in shards}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(shards[0].claims_folder.glob("*.claim") if shards else ()):
            by_stem.get(path.name.partition(".")[0], []).append(path)
    return [_live(read_claims(files, by_stem[files.stem]), me) for files in shards]


def _live(found: Iterator[tuple[int, LeaseOwner, float]], me: LeaseOwner) -> dict[int, LeaseOwner]:
    return {block: holder for block, holder, age in found if age < STALE_SECONDS and not holder.is_dead(me)}


class Leases:
    """The claims of one attempt at a shard. Used as a context: they are touched inside it, and let go at its end.

    All of them are links to one file, the attempt's card, so that one touch serves them all.
    """

    def __init__(self, files: ShardFiles, holder: LeaseOwner):
        self.files, self.holder = files, holder
        self._card = files.claims_folder / f"{files.stem}.{holder.attempt}.card.tmp"
        self._held: set[int] = set()
        self._inherited: set[int] = set()
        self._end = threading.Event()

    def __enter__(self) -> Leases:
        self.files.claims_folder.mkdir(parents=True, exist_ok=True)
        self._card.write_text(json.dumps(asdict(self.holder)) + "\n", encoding="utf-8")
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for block in self._held:
            path = claim_path(self.files, block)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samefile(path, self._card):
                    path.rename(self._left(block))  # for who takes the block next
        self._card.unlink(missing_ok=True)

    def take(self, block: int) -> bool:
        """Claim a block, from a dead holder if need be. False when it is another's, or when the shard is complete."""
        path = claim_path(self.files, block)
        try:
            taken = link_if_absent(self._card, path) or self._take_over(block, path)
        except FileNotFoundError:  # whoever completed the shard has tidied up
            return False
        if taken and block not in self._held:
            self._held.add(block)
            with contextlib.suppress(FileNotFoundError):
                self._left(block).unlink()
                self._inherited.add(block)
        return taken

    def was_anothers(self, block: int) -> bool:
        """Whether a block that is held now was another's before, who may have finished some of its rows."""
        return block in self._inherited

    def _left(self, block: int) -> Path:
        """What the claim on a block is called when its holder has let go of it, and the shard is not complete."""
        return claim_path(self.files, block).with_suffix(".left.tmp")

    def _take_over(self, block: int, path: Path) -> bool:
        if block in live_blocks(self.files, self.holder):
            return False
        grave = self._card.with_name(f"{self.files.stem}.{self.holder.attempt}.grave.tmp")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, grave)
            grave.unlink()
        self._inherited.add(block)
        return link_if_absent(self._card, path)

    def others(self) -> set[int]:
        """The blocks that other workers hold now."""
        return {block for block in live_blocks(self.files, self.holder) if block not in self._held}

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._card)
