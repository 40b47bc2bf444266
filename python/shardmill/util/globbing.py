"""Files that paths or glob patterns name."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob
from pathlib import Path

from shardmill.util.errors import UserError


def matching_files(patterns: Iterable[Path]) -> list[Path]:
    """The files of paths or glob patterns, in the order given; those of one pattern are sorted.

    Raises:
        UserError: If a pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        paths = [pattern] if pattern.exists() else [Path(path) for path in sorted(glob(str(pattern)))]
        if not paths:
            raise UserError(f"no file matches {pattern}")
        found += paths
    return found
