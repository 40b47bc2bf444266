"""Runs a command and measures it with all of its children: seconds, CPU, and the peak of the memory that they have together.

Memory is sampled. A page of data that several processes of the tree share counts once; of files (programs, libraries) those that
the process with most of them has in memory count, whoever else on the machine uses them too. `ru_maxrss` would not do: a child
starts with the figure of the process that it came from. Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.1


@dataclass
class Measured:
    """What a command took. `samples` are (monotonic time, CPU seconds so far, MB) of the whole tree."""

    started: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    code: int
    samples: list[tuple[float, float, float]] = field(repr=False)

    def cpu_at(self, moment: float) -> float:
        """The CPU seconds used until a moment, between the two samples next to it."""
        before = (self.started, 0.0)
        for at, cpu, _ in self.samples:
            if at >= moment:
                share = (moment - before[0]) / max(at - before[0], 1e-9)
                return before[1] + share * (cpu - before[1])
            before = (at, cpu)
        return before[1]


def tree(root: int) -> list[int]:
    """The process `root` and all below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                text = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def usage(processes: Sequence[int]) -> tuple[float, float]:
    """CPU seconds (of children that are gone too) and MB of processes."""
    ticks, data, files = 0, 0, 0
    for process in processes:
        with suppress(OSError, IndexError, KeyError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
            data += kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]
            files = max(files, kilobytes["Rss"] - kilobytes["Anonymous"])
    return ticks / TICK, (data + files) / 1024


class Running:
    """A command under way in a session of its own; `kill` ends its whole tree at once, as a lost node would."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], core: int | None = None):
        self.started = time.monotonic()
        self._log = open(log, "ab")  # noqa: SIM115 (closed by wait())
        self.process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
        self.samples: list[tuple[float, float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.is_set():
            self.samples.append((time.monotonic(), *usage(tree(self.process.pid))))
            self._done.wait(SAMPLE_SECONDS)

    def kill(self) -> None:
        for process in tree(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> Measured:
        """Wait for the end; a command that is too slow is killed."""
        timer = threading.Timer(timeout, self.kill) if timeout else None
        if timer:
            timer.start()
        _, status, resources = os.wait4(self.process.pid, 0)
        seconds = time.monotonic() - self.started
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if timer:
            timer.cancel()
        self._done.set()
        self._thread.join()
        self._log.close()
        cpu = max(resources.ru_utime + resources.ru_stime, max((cpu for _, cpu, _ in self.samples), default=0.0))
        peak = max((memory for _, _, memory in self.samples), default=0.0)
        return Measured(self.started, seconds, cpu, peak, self.process.returncode, self.samples)
