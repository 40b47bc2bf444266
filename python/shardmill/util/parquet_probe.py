"""Whether Polars survives a Parquet file: tried in a process of its own, since it may end the process that reads a damaged one.

Polars 2.1 takes a length that a damaged page claims (2**61 bytes) at its word; the allocation fails, and Rust then aborts, which
no `except` sees. Decoding alone takes a third of the time that counting the records takes, and the process a fifth of a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from shardmill.util.errors import UserError

DECODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import polars
path, *rows = sys.argv[1:]
for name in rows[:1] or polars.read_parquet_schema(path):
    try:
        column = polars.scan_parquet(path, glob=False).select(polars.selectors.by_name(name).is_not_null())
        for _ in (column.slice(*map(int, rows[1:])) if rows else column).collect_batches(chunk_size=50_000, maintain_order=True):
            pass
    except BaseException:
        pass
"""
"""Column by column: an error in one must not hide what another does. What is decoded is not kept: pictures may be in it."""
COMMAND = (sys.executable, "-I", "-c", DECODE)
BY_ITSELF = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
"""Signals that a process causes itself. Others come from outside (Ctrl-C, `kill`, no memory left)."""


def check_survivable(path: Path) -> None:
    """Raises UserError where decoding the file ends the process; what can be caught is left to those who read it."""
    if fault := deadly(path):
        raise UserError(f"{fault}. Copy or download it again.")


def deadly(path: Path, column: str | None = None, start: int = 0, rows: int = 0) -> str | None:
    """What is wrong with a file if decoding it, or some rows of a column, ends the process; None if it does not."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    part = () if column is None else (column, str(start), str(rows))
    ended = _ended_by(str(path), stat.st_size, stat.st_mtime_ns, part)
    return None if ended is None else f"{path} is damaged: reading it ends the program ({ended})"


@lru_cache(maxsize=1_000)
def _ended_by(path: str, size: int, stamp: int, part: tuple[str, ...]) -> str | None:
    """The signal that decoding brings about, None if there is none. Where no process can be started, nothing is known."""
    try:
        code = subprocess.run([*COMMAND, path, *part], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    except OSError:
        return None
    return signal.Signals(-code).name if -code in BY_ITSELF else None
