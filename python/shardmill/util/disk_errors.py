"""What an operating-system error says about the disk, in words."""

from __future__ import annotations

import errno
import re

DISK_PROBLEMS = {
    errno.ENOSPC: "no space left",
    errno.EROFS: "read-only",
    errno.EDQUOT: "over quota",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOTDIR: "a file where a folder is needed",
    errno.EEXIST: "a file where a folder is needed",
    errno.EISDIR: "a folder where a file is needed",
    errno.ENAMETOOLONG: "name too long",
}
CHANGED = {errno.ENOENT: "not found: another command may have changed the run meanwhile"}
FAILING_DISK = {
    errno.EIO: "the disk reports an input/output error",
    errno.ESTALE: "the file server no longer knows an open file (stale handle)",
    errno.EREMOTEIO: "the file server reports an input/output error",
}
"""Nothing that the user could fix: on another node, or a minute later, the same call may succeed."""
PROBLEMS = {**DISK_PROBLEMS, **FAILING_DISK, **CHANGED}
UNSPECIFIC = "thrift: transport error"
"""All that Polars says when the end of a Parquet file cannot be written."""


def disk_problem(error: Exception) -> str | None:
    """What is wrong with the disk, if that is what an error says."""
    number = _system_error(error)
    if number is None and UNSPECIFIC in str(error):
        return "a Parquet file could not be written: the disk is full, read-only or failing"
    if number is None or number not in PROBLEMS:
        return None
    name = getattr(error, "filename", None) or _name_in(str(error))
    return PROBLEMS[number] + (f": {name}" if name else " on the run folder's disk")


def is_transient(error: Exception) -> bool:
    """Whether a disk problem may be gone at the next try, without anything being fixed."""
    return _system_error(error) in {**FAILING_DISK, **CHANGED} or UNSPECIFIC in str(error)


def _name_in(message: str) -> str:
    """The file that an error of Polars names."""
    found = re.search(r"\(os error \d+\): (.*?)(?: \(set POLARS|$)", message, re.DOTALL)
    return found[1] if found else ""


def _system_error(error: Exception) -> int | None:
    """The system's number of an error. Polars gives it in its message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
