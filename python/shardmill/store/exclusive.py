"""One process at a time for what two must not do at once to a run: launch it on a cluster, or change its plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from shardmill.store.leases import LeaseOwner, read_owner, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import create_if_absent, link_if_absent, make_folder, temporary_name
from shardmill.util.errors import UserError

Rest = ParamSpec("Rest")
Result = TypeVar("Result")

_changing: set[Path] = set()


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Keep other processes out until the block ends; `path` is a file that says who is in.

    Args:
        path: The file. One that a process left that has ended is removed.
        doing: What the other process does, for the message: "another launch of this run is under way".

    Raises:
        UserError: If another process is in, and is alive as far as can be seen from here.
    """
    make_folder(path.parent)
    me = this_process()
    content = json.dumps(asdict(me)).encode()
    while not create_if_absent(path, content):
        _remove_of_ended(path, me, doing)
    try:
        yield
    finally:
        _remove(path, content)


def _remove_of_ended(path: Path, me: LeaseOwner, doing: str) -> None:
    try:
        content, other = path.read_bytes(), read_owner(path)
    except FileNotFoundError:
        return
    except ValueError:
        raise UserError(f"{path} is corrupt; remove it if no other command is at work on this run") from None
    if not other.is_dead(me):
        raise UserError(f"{doing} (process {other.pid}); try again when it has ended, or if it has, remove {path}")
    _remove(path, content)


def _remove(path: Path, content: bytes) -> None:
    """Remove a file with that content, but no other that has got its name since: two processes may find the same one stale."""
    away = temporary_name(path)
    with suppress(FileNotFoundError):
        path.rename(away)
        if away.read_bytes() != content:
            link_if_absent(away, path)
        away.unlink()


def one_change_at_a_time(
    change: Callable[Concatenate[RunFolder, Rest], Result],
) -> Callable[Concatenate[RunFolder, Rest], Result]:
    """Let a function that changes a run's plan or opens its shards again work on the present plan, with no other such at work."""

    @wraps(change)
    def changed(run: RunFolder, /, *args: Rest.args, **options: Rest.kwargs) -> Result:
        path = (run.path / "jobs" / "changing.json").absolute()
        if path in _changing:  # `change` is a step of another change
            return change(run, *args, **options)
        with exclusive(path, f"another command is changing {run.path}"):
            _changing.add(path)
            try:
                return change(RunFolder(run.path), *args, **options)
            finally:
                _changing.discard(path)

    return changed
