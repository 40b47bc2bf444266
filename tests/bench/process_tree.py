"""What a command takes, with all processes that it starts: seconds, CPU seconds, and the peak of its memory.

The peak is the largest sum of the high-water marks (VmHWM) of processes that live at a time: what they have together, or more.
Not `ru_maxrss`: a child starts with the figure of the process that it came from. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Taken:
    """Wall seconds, CPU seconds of the whole tree, peak memory in MB, and what it printed."""

    seconds: float
    cpu: float
    peak_mb: float
    output: str


def run_measured(command: Sequence[str | Path]) -> Taken:
    """Run a command to its end. Raises RuntimeError with what it printed if it fails."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        peak, output = 0.0, b""
        while True:
            peak = max(peak, sum(map(high_water_mark, tree(process.pid))))
            output += process.stdout.read() or b""
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(LOOK_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        output += process.stdout.read() or b""
    seconds = time.perf_counter() - started
    told = output.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{told[-2000:]}")
    return Taken(seconds, usage.ru_utime + usage.ru_stime, peak, told)


def tree(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    for process in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                found += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    return found


def high_water_mark(process: int) -> float:
    """MB; 0 for a process that has gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return 0.0
