"""Pictures in a Parquet input. Rows name them by their row number in it, so it must be the file that was planned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from shardmill.store.plan import Plan
from shardmill.util.atomic import file_digest
from shardmill.util.errors import UserError


def check_embedded(plan: Plan, references: Iterable[str | None], *, must_exist: bool = True) -> None:
    """Raises UserError if a reference leads into the input of a run and that was changed, or was not found (`must_exist`).

    It is not read if its size and times say that nobody has touched it since the run was planned; else once in a process.
    """
    source = plan.input
    if source.format != "parquet":
        return
    files = source.files or {source.path: (source.sha256, source.bytes)}
    named = {reference.partition("::")[0] for reference in references if reference and "::" in reference}  # see tables.parquet
    for path in sorted(named & files.keys()):
        _check_file(path, *files[path], planned=datetime.fromisoformat(plan.created).timestamp(), must_exist=must_exist)


def _check_file(path: str, sha256: str, size: int, *, planned: float, must_exist: bool) -> None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        if must_exist:
            raise UserError(f"{path} was not found, and the images are in it; restore it") from None
        return
    touched = max(stat.st_mtime, stat.st_ctime) >= planned
    same = stat.st_size == size
    if same and touched:
        same = _digest(path, stat.st_mtime_ns, stat.st_ctime_ns) == sha256
    if not same:
        raise UserError(
            f"{path} was changed since the run was planned, and rows name the images in it by row number; "
            "restore it, or start a new run with it"
        )


@lru_cache(maxsize=16)
def _digest(path: str, modified: int, changed: int) -> str:
    return file_digest(Path(path))
