"""Tar files whose bytes depend on nothing but their members: no times, owners or modes of this machine."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from shardmill.util.atomic import new_attempt, sync_folder

BLOCK = tarfile.BLOCKSIZE
END = 2 * BLOCK
MODE = 0o644
WRITE_SIZE = 4 << 20
"""Bytes per write: each write releases the GIL, and getting it back takes longer than the write itself."""

Member = tuple[str, bytes]


@dataclass
class TarShard:
    """A tar file that is being written, in a folder of unfinished files, until `publish` gives it its name."""

    path: Path
    making: Path
    size: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        self.making.mkdir(parents=True, exist_ok=True)
        self._temporary = self.making / f"{self.path.name}.{new_attempt()}"
        self._file: IO[bytes] = open(self._temporary, "wb")  # noqa: SIM115 (open until it is published)
        self._sha = sha256()
        self._pending = bytearray()

    def add(self, members: Sequence[Member]) -> None:
        """Add the members of one sample, one after the other as WebDataset requires."""
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), MODE
            self._write(info.tobuf(tarfile.USTAR_FORMAT))
            self._write(data)
            self._write(bytes(-len(data) % BLOCK))
        self.samples += 1

    def publish(self) -> dict[str, object]:
        """Complete the file, sync it, and give it its name; returns its entry in the record."""
        self._write(bytes(END))
        self._write_out()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)
        sync_folder(self.path.parent)
        return {"rows": self.samples, "bytes": self.size, "sha256": self._sha.hexdigest()}

    def close(self) -> None:
        """Close the file, published or not."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._pending += data
        self.size += len(data)
        if len(self._pending) >= WRITE_SIZE:
            self._write_out()

    def _write_out(self) -> None:
        self._file.write(self._pending)
        self._sha.update(self._pending)
        self._pending = bytearray()


def size_in_tar(members: Sequence[Member]) -> int:
    """How many bytes a sample takes in a tar.

    >>> size_in_tar([("1.txt", b"a dog")])
    1024
    """
    return sum(BLOCK + len(data) + -len(data) % BLOCK for _, data in members)
