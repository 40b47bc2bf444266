"""Where the files in a tar are, with everything that is passed over counted, and an error where the archive is damaged.

`tarfile` ends without a word at a header that it does not understand and at the end of the first of several archives in one file.
Here each byte is accounted for: members, then blocks of zeros up to the end of the file, or to another archive.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
READ_SIZE = 2**20
REPLACED = "members replaced by a later one of the same name"


class DamagedTar(ValueError):
    """The file is not a whole, uncompressed tar; the message says which, and from which byte on."""


@dataclass
class TarContents:
    """The (offset, size) of each file by its name, in the order of the archive; what is no file of data, counted by kind."""

    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)


def read_tar(path: Path) -> TarContents:
    """What a tar holds. Links to a file before them are that file. Of members of one name the last counts, as when unpacking.

    Raises:
        DamagedTar: If the file is no tar, has a damaged header, or ends before its end mark.
        OSError: If it cannot be read.
    """
    found = TarContents()
    with path.open("rb") as file:
        for member in _members(path, file):
            _add(found, member)
    return found


def _add(found: TarContents, member: tarfile.TarInfo) -> None:
    place = (member.offset_data, member.size)
    if member.islnk() or member.issym():
        target = member.linkname
        if member.issym():
            target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), target))
        if target not in found.members:
            found.passed_over["links without a file in the tar before them"] += 1
            return
        place = found.members[target]
    elif member.isdir():
        return
    elif not member.isreg() or member.issparse():
        found.passed_over["sparse files" if member.issparse() else "devices and pipes"] += 1
        return
    if member.name in found.members:
        found.passed_over[REPLACED] += 1
    found.members[member.name] = place


def _members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of all archives in a file, one behind the other."""
    size = os.fstat(file.fileno()).st_size
    start: int | None = 0
    while start is not None:
        file.seek(start)
        end = start
        try:
            with tarfile.TarFile(fileobj=file) as tar:
                while (member := tar.next()) is not None:
                    if tar.offset <= end:
                        raise tarfile.ReadError("a member of negative size")  # which would be read for ever
                    end = tar.offset
                    tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with the archive
                    yield member
        except (tarfile.TarError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
            raise DamagedTar(_fault(path, end, size, str(error) or type(error).__name__)) from error
        file.seek(end)
        block = file.read(BLOCK)
        if len(block) < BLOCK or block.strip(b"\0"):
            raise DamagedTar(_fault(path, end, size, "no header starts there"))
        start = _next_archive(file, end + BLOCK)


def _fault(path: Path, at: int, size: int, detail: str) -> str:
    if at == 0:
        return f"{path} is not a plain tar file: {detail}; unpack a compressed one first"
    if at + BLOCK > size:
        return f"{path} ends at byte {size:,} without the end mark of a tar: it was cut off. Copy or download it again."
    return f"{path} is damaged at byte {at:,}: {detail}. Copy or download it again."


def _next_archive(file: BinaryIO, at: int) -> int | None:
    """The first block from `at` on that is not of zeros; None where there is none."""
    while data := file.read(READ_SIZE):
        rest = data.lstrip(b"\0")
        if rest:
            return (at + len(data) - len(rest)) // BLOCK * BLOCK
        at += len(data)
    return None
