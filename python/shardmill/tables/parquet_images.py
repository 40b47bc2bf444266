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
    source, inside = plan.input, f"{plan.input.path}::"  # see tables.parquet
    if source.format != "parquet" or not any(reference and reference.startswith(inside) for reference in references):
        return
    try:
        stat = os.stat(source.path)
    except FileNotFoundError:
        if must_exist:
            raise UserError(f"{source.path} was not found, and the pictures are in it; restore it") from None
        return
    touched = max(stat.st_mtime, stat.st_ctime) >= datetime.fromisoformat(plan.created).timestamp()
    same = stat.st_size == source.bytes
    if same and touched:
        same = _digest(source.path, stat.st_mtime_ns, stat.st_ctime_ns) == source.sha256
    if not same:
        raise UserError(
            f"{source.path} was changed since the run was planned, and rows name the pictures in it by row number; "
            "restore it, or start a new run with it"
        )


@lru_cache(maxsize=16)
def _digest(path: str, modified: int, changed: int) -> str:
    return file_digest(Path(path))
