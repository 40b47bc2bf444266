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

from shardmill.errors import UserError

DECODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import polars
for name in polars.read_parquet_schema(sys.argv[1]):
    try:
        column = polars.scan_parquet(sys.argv[1], glob=False).select(polars.selectors.by_name(name))
        for _ in column.collect_batches(chunk_size=50_000, maintain_order=True):
            pass
    except BaseException:
        pass
"""
"""Column by column: an error in one must not hide what another does."""
COMMAND = (sys.executable, "-I", "-c", DECODE)


def check_survivable(path: Path) -> None:
    """Raises UserError where decoding the file ends the process; what can be caught is left to those who read it."""
    try:
        stat = os.stat(path)
    except OSError:
        return
    if (ended := _ended_by(str(path), stat.st_size, stat.st_mtime_ns)) is not None:
        raise UserError(f"{path} is damaged: reading it ends the program ({ended}). Get it again.")


@lru_cache(maxsize=1_000)
def _ended_by(path: str, size: int, stamp: int) -> str | None:
    """The signal that decoding brings about, None if there is none. Where no process can be started, nothing is known."""
    try:
        code = subprocess.run([*COMMAND, path], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    except OSError:
        return None
    return signal.Signals(-code).name if code < 0 else None
