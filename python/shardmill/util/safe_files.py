"""Reading files that another user may have put there: links and pipes are not followed, and a file has a maximum size."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from shardmill.util.errors import UserError

MAX_RECORD_BYTES = 4_000_000
"""The maximum size of a manifest or a record; real ones have a few kilobytes."""
PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
"""A name that is one component of a path: no separator, no `..`, no leading hyphen that a command would take for an option."""


def is_plain_name(text: str) -> bool:
    """Whether a text is a plain name.

    >>> [is_plain_name(text) for text in ("colours", "../colours", "-n", "a b")]
    [True, False, False, False]
    """
    return re.fullmatch(PLAIN_NAME, text) is not None


def read_untrusted(path: Path | str, most: int = MAX_RECORD_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: The file; a link is not followed.
        most: Its maximum size in bytes.

    Raises:
        FileNotFoundError: If there is no file of that name.
        UserError: If it is a link, a folder, a pipe or a device, or too large.
    """
    return _read(path, most)[0]


def read_private(path: Path, most: int, *, secret: bool = False) -> bytes:
    """The content of a regular file of this user's that no other user can write to.

    Args:
        path: The file; a link is not followed.
        most: Its maximum size in bytes.
        secret: Whether other users must not be able to read it either.

    Raises:
        FileNotFoundError: If there is no file of that name.
        UserError: If it is anything else, or if another user owns it or has access.
    """
    content, found = _read(path, most)
    if found.st_uid != os.getuid():
        raise UserError(f"{path} belongs to another user")
    if found.st_mode & (0o077 if secret else 0o022):
        raise UserError(f"other users can {'read' if secret else 'write to'} {path}; change that with: chmod go-rwx {path}")
    return content


def _read(path: Path | str, most: int) -> tuple[bytes, os.stat_result]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if Path(path).is_symlink():
            raise UserError(f"{path} is a link, which is not followed here; put the file itself there") from None
        raise error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a regular file")
        if found.st_size > most:
            raise UserError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read")
        content = b""
        while (left := found.st_size - len(content)) > 0 and (more := os.read(handle, left)):
            content += more
        return content, found
    finally:
        os.close(handle)


def refuse_foreign_links(folder: Path) -> None:
    """Check that no link in a folder was made by another user: what is written there would land wherever that user wants.

    Raises:
        UserError: If there is one. Links of this user and of root are their own decision.
    """
    try:
        with os.scandir(folder) as entries:
            links = [entry for entry in entries if entry.is_symlink()]
            foreign = [entry.path for entry in links if entry.stat(follow_symlinks=False).st_uid not in (os.getuid(), 0)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    if foreign:
        target = Path(foreign[0]).readlink()
        raise UserError(f"{foreign[0]} is a link that another user made to {target}; it is not followed: remove it")
