"""Runs that a group shares: the files of a run are the group's, and what is made beside them will be."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shardmill.util.errors import UserError, did_you_mean


def group_number(name: str) -> int:
    """The number of a group of this user. Raises UserError if there is no such group, or the user is not in it."""
    own = {number: grp.getgrgid(number).gr_name for number in {os.getegid(), *os.getgroups()} if _exists(number)}
    for number, known in own.items():
        if known == name:
            return number
    raise UserError(f"group: you are in no group {name!r}; {did_you_mean(name, own.values())}")


def _exists(number: int) -> bool:
    with suppress(KeyError):
        return bool(grp.getgrgid(number))
    return False


def share_with_group(folders: Iterable[Path], name: str) -> None:
    """Give folders and all in them to a group, and have new files in them belong to it. What others own is left as it is."""
    number = group_number(name)
    for folder in folders:
        info = folder.stat()
        if info.st_gid == number and info.st_mode & stat.S_ISGID:
            continue
        for path, _, files in os.walk(folder, topdown=False):  # the folder itself last: it says that all is done
            for each in files:
                _give(Path(path, each), number)
            _give(Path(path), number)
            with suppress(PermissionError):
                Path(path).chmod(Path(path).stat().st_mode | stat.S_ISGID)


def _give(path: Path, number: int) -> None:
    with suppress(PermissionError, FileNotFoundError):
        os.chown(path, -1, number, follow_symlinks=False)
