"""The live view of a local launch: one table on a terminal, one line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from shardmill.launch.local import LaunchView
from shardmill.store.manifest import totals
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task, TaskBoard
from shardmill.util.console import TextConsole
from shardmill.util.progress import Progress, clock
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

LINE_SECONDS = 10.0


class LiveView(LaunchView):
    """Shows the tasks of a board while they run: a table on a terminal, elsewhere a plain line every `LINE_SECONDS`."""

    def __init__(self, run: RunFolder):
        self._run = run
        self._console = TextConsole(stderr=True)
        self._running: dict[Task, Progress] = {}
        self._started = time.monotonic()
        self._next_line = self._started + LINE_SECONDS
        self._board: TaskBoard | None = None
        self._done_before = 0
        self._live: Live | None = None

    @contextmanager
    def showing(self, board: TaskBoard) -> Iterator[None]:
        """Show the board until the block ends."""
        self._board = board
        self._started = time.monotonic()
        self._done_before = len(board.done)
        done, wanted = len(board.done), count_of(self._wanted(), "task")
        self._print(f"{done:,} of {wanted} already done" if done else f"{wanted} to do")
        if not self._console.is_terminal:
            yield
            return
        with Live(self._table(), console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield

    def progress(self, task: Task, progress: Progress) -> None:
        self._running[task] = progress

    def ended(self, task: Task) -> None:
        self._running.pop(task, None)

    def refresh(self) -> None:
        """Bring what is shown up to date."""
        if self._live is not None:
            self._live.update(self._table())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self._print(self._line())

    def _print(self, line: str) -> None:
        echo(line, err=True)

    def _wanted(self) -> int:
        assert self._board is not None
        return len(self._board.stages) * self._board.needed

    def _eta(self) -> str:
        """Time left, if the tasks left take as long as those done since the start."""
        assert self._board is not None
        done = len(self._board.done) - self._done_before
        left = self._wanted() - len(self._board.done)
        return clock((time.monotonic() - self._started) / done * left) if done and left > 0 else "?"

    def _line(self) -> str:
        assert self._board is not None
        running = ", ".join(f"{task.stage} {task.shard}: {p.rows:,}/{p.total:,}" for task, p in sorted(self._running.items()))
        done = f"{len(self._board.done):,}/{self._wanted():,} tasks done, ETA {self._eta()}"
        return f"{done}; running {running}" if running else done

    def _table(self) -> Table:
        assert self._board is not None
        table = Table(title=f"{self._run.path}   ETA {self._eta()}", title_justify="left", box=None)
        for name in ("stage", "shards", "running", "rows/s", "rejected"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for stage in self._board.stages:
            manifests = [manifest for task, manifest in self._board.done.items() if task.stage == stage]
            running = {task: progress for task, progress in self._running.items() if task.stage == stage}
            sums = totals(manifests)
            rows, total = sum(p.rows for p in running.values()), sum(p.total for p in running.values())
            table.add_row(
                stage,
                f"{len(manifests)}/{self._board.needed}",
                f"{rows:,}/{total:,} rows in {len(running)}" if running else "",
                f"{sums['rows_in'] / sums['seconds']:,.0f}" if sums["seconds"] else "",
                f"{sums['rejected'] + sum(p.rejected for p in running.values()):,}",
            )
        return table
