"""Progress on a terminal or in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from shardmill.util.console import TextConsole
from shardmill.util.terminal import echo

FIRST_LINE_SECONDS, NEXT_LINE_SECONDS = 10, 30
"""In a log: work of a few seconds says nothing, longer work a line now and then."""


@dataclass(frozen=True)
class Progress:
    """How far a shard is. `rows` counts finished rows of `total`, `resumed` those that an earlier attempt did."""

    rows: int
    total: int
    resumed: int
    rejected: int


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    >>> clock(3723), clock(123)
    ('1:02:03', '02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


class ProgressLine:
    """Rows, rate and ETA: a bar on a terminal, else a line now and then.

    Args:
        label: What the line begins with.
        bar: Whether a terminal may show a bar; only one can be shown at a time.
    """

    def __init__(self, label: str, *, bar: bool = True):
        self._label = label
        self._started = time.monotonic()
        self._next = self._started + FIRST_LINE_SECONDS
        self._printed = self._ended = False
        self._bars = _terminal_bars() if bar and sys.stderr.isatty() else None
        self._task = self._bars.add_task(label, start=True, rejected="") if self._bars else None

    def __call__(self, progress: Progress) -> None:
        if self._ended:
            return
        self._ended = progress.rows == progress.total
        if self._bars is None:
            self._print_line(progress)
            return
        assert self._task is not None
        rejected = f"{progress.rejected:,} rejected" if progress.rejected else ""
        self._bars.start()
        self._bars.update(self._task, completed=progress.rows, total=progress.total, rejected=rejected)
        if self._ended:
            self._bars.stop()

    def _print_line(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next and not (self._printed and self._ended):
            return
        self._next, self._printed = now + NEXT_LINE_SECONDS, True
        rate = (progress.rows - progress.resumed) / max(now - self._started, 1e-9)
        eta = f", ETA {clock((progress.total - progress.rows) / rate)}" if rate else ""
        line = f"{progress.rows:,}/{progress.total:,} rows, {rate:,.0f} rows/s{eta}, {progress.rejected:,} rejected"
        echo(f"{self._label}: {line}", err=True)


def _terminal_bars() -> Bars:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bars(*columns, TextColumn("{task.fields[rejected]}", markup=False), console=TextConsole(stderr=True), transient=False)


def step_progress(label: str) -> Callable[..., None]:
    """A progress line for a step outside of runs, called with how much is done and, where that is known, of how much."""
    line = ProgressLine(label)

    def show(done: int, total: int | None = None) -> None:
        line(Progress(done, done + 1 if total is None else total, 0, 0))

    return show
