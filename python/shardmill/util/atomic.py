"""Crash-safe writing: a temporary file beside the target, fsync, then a rename or a link."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO

from shardmill.util.errors import UserError
from shardmill.util.processes import is_mark_of_this_machine, mark_has_ended, process_mark

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
TEMPORARY = re.compile(r"\..+\.[0-9]{13}-(.+)-[0-9a-f]{6}\.tmp")
ABANDONED_SECONDS = 86_400.0
"""A temporary file of another machine that nothing has written to for so long is abandoned."""
MAX_NAMES = 20_000
"""How many names of a folder are searched for temporary files: a folder of images may have millions."""

_swept: set[Path] = set()


def new_attempt() -> str:
    """A name for one attempt at a shard: sorts by time, and no two attempts on any host share it."""
    host = socket.gethostname().split(".")[0] or "host"
    return f"{_milliseconds()}-{host}-{os.getpid()}-{secrets.token_hex(3)}"


def _milliseconds() -> str:
    return f"{time.time_ns() // 1_000_000:013d}"


def sync_folder(folder: Path) -> None:
    """Make names just created, linked or removed in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of a closed file durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, durably: what is in a folder is lost with the folder's own name."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # a folder that may be written to but not listed
        sync_folder(folder.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole new file and fsync it; not atomic: for names that nothing reads yet."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def temporary_name(path: Path) -> Path:
    """A unique name beside `path`, to be renamed to it. Those that ended processes left in the folder are removed."""
    sweep_once(path.parent)
    return path.with_name(f".{path.name}.{_milliseconds()}-{process_mark()}-{secrets.token_hex(3)}.tmp")


def sweep_once(folder: Path) -> None:
    """Sweep a folder, if this process has not yet done so and the folder is there."""
    if folder not in _swept:
        _swept.add(folder)
        with contextlib.suppress(OSError):
            sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders of processes that have ended."""
    with os.scandir(folder) as names:
        found = [entry for entry in islice(names, MAX_NAMES) if TEMPORARY.fullmatch(entry.name)]
    for entry in found:
        with contextlib.suppress(FileNotFoundError):
            path = Path(entry.path)
            if is_abandoned(path):
                shutil.rmtree(path) if entry.is_dir(follow_symlinks=False) else path.unlink()


def is_abandoned(temporary: Path) -> bool:
    """Whether the process that made a temporary file or folder has ended; of another machine's only its age is known."""
    match = TEMPORARY.fullmatch(temporary.name)
    assert match is not None, f"{temporary} is not a temporary name"
    if is_mark_of_this_machine(match[1]):
        return mark_has_ended(match[1])
    times = [temporary.stat().st_mtime]
    if temporary.is_dir():  # writing to a file does not touch its folder
        times += [path.stat().st_mtime for path in temporary.iterdir()]
    return time.time() - max(times) > ABANDONED_SECONDS


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` that is gone when the block ends."""
    folder = temporary_name(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def discard(temporary: Path) -> None:
    """Remove a temporary file if it is still there. A second failure of the disk must not hide the first."""
    with contextlib.suppress(OSError):
        temporary.unlink()


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a durable temporary file its final name, durably. Raises UserError if it is gone."""
    try:
        os.replace(temporary, path)
    except FileNotFoundError:
        raise UserError(
            f"{temporary} was removed by another process before it could become {path.name}; run the command again"
        ) from None
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces `path` as a whole when the block ends without an error."""
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    finally:
        discard(temporary)


def link_if_absent(source: Path, target: Path) -> bool:
    """Give the durable file `source` the name `target` too, unless `target` exists. True when `target` is now `source`.

    The one operation that decides between two writers: of several callers exactly one gets the name. A network file system
    may report "exists" for a link that it made (the reply was lost), hence the comparison of inodes.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return os.path.samefile(source, target)
    except OSError as error:
        if error.errno in NO_LINKS:
            raise UserError(
                f"{target.parent} is on a file system without hard links; put the run folder on one that has them"
            ) from error
        raise
    sync_folder(target.parent)
    return True


def create_if_absent(path: Path, data: bytes) -> bool:
    """Create `path` whole with `data` unless it exists. True when this call created it."""
    temporary = temporary_name(path)
    try:
        write_durably(temporary, data)
        return link_if_absent(temporary, path)
    finally:
        discard(temporary)


def file_digest(path: Path) -> str:
    """sha256 of a file as hex, read in blocks."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def identity(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file, by which it differs from another file of the same name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: Path, folder: Path, only: tuple[int, int] | None = None) -> None:
    """Move a file that no longer counts into `folder`; nothing happens when it is already gone.

    With `only`, just this file is moved: another one that has got the name meanwhile keeps it.
    """
    found = identity(path)
    if found is None or (only is not None and found != only):
        return
    make_folder(folder)
    target = folder / path.name
    if target.exists():
        target = folder / f"{path.name}.{new_attempt()}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, target)
        if only is not None and identity(target) != only:  # another file took the name between the check and the move
            link_if_absent(target, path)
            target.unlink(missing_ok=True)
            return
        sync_folder(folder)
        sync_folder(path.parent)
