"""Reading what another user may have written: files in a folder that a group shares, or a run folder from somebody else.

Plans, manifests, records of jobs and announcements of servers are models whose fields have the types below, and are read by
`read_model`: links and pipes are not followed, a file has a maximum size, numbers have bounds, and a name that becomes part of a
path or an argument of a command is checked before anything is done with it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from shardmill.util.errors import UserError

MAX_RECORD_BYTES = 4_000_000
"""The maximum size of a manifest or a record; real ones have a few kilobytes."""
MAX_COUNT = 2**50

PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
PlainName = Annotated[str, StringConstraints(pattern=PLAIN_NAME, max_length=200)]
"""A name that is one component of a path: no separator, no `..`, no leading hyphen that a command would take for an option."""
NodeName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.:@+-]*)?$", max_length=255)]
"""The name of a node or host, or nothing."""
JobId = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,18}(_[0-9]{1,18})?)?$")]
"""A job id of SLURM, `12` or `12_3`, or nothing."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,128}$")]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""Seconds of a clock or a duration."""

Record = TypeVar("Record", bound=BaseModel)


def is_plain_name(text: str) -> bool:
    """Whether a text is a plain name.

    >>> [is_plain_name(text) for text in ("colours", "../colours", "-n", "a b")]
    [True, False, False, False]
    """
    return re.fullmatch(PLAIN_NAME, text) is not None


class CorruptRecord(ValueError):
    """A file is not the JSON that it should be; the message says where and why."""


def read_model(path: Path, kind: type[Record], most: int = MAX_RECORD_BYTES) -> Record:
    """The record in a JSON file.

    Args:
        path: The file; a link is not followed.
        kind: The model of the record.
        most: The maximum size of the file in bytes.

    Raises:
        FileNotFoundError: If there is no file of that name.
        UserError: If it is not a regular file, or too large.
        CorruptRecord: If its content is not a record of this kind.
    """
    try:
        return kind.model_validate_json(read_untrusted(path, most))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        message = first["msg"].removeprefix("Value error, ")
        raise CorruptRecord(f"{where}: {message}" if where else message) from None


def read_untrusted(path: Path, most: int = MAX_RECORD_BYTES) -> bytes:
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


def _read(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise UserError(f"{path} is a link, which is not followed here; put the file itself there") from None
        raise error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a regular file")
        if found.st_size > most:
            raise UserError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read")
        with open(handle, "rb", closefd=False) as file:
            return file.read(most), found
    finally:
        os.close(handle)


def refuse_foreign_link(path: Path) -> None:
    """Raise UserError if a path is a link that another user made: what is written there would land wherever that user wants."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode) and found.st_uid != os.getuid():
        raise UserError(f"{path} is a link that another user made to {path.readlink()}; it is not followed: remove it")
