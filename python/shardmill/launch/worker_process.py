"""A worker process as its launcher sees it: it takes one task at a time, says how it goes, and keeps its models between tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task

HEADER_BYTES = 120
"""A journal of no more bytes holds a header and no row."""


class Worker:
    """A child process that takes one task at a time and keeps its models between them."""

    def __init__(self, run: RunFolder, log: Path, environment: dict[str, str]):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.task: Task | None = None
        self.last: Task | None = None
        self._pending = b""
        receive, send = os.pipe()
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shardmill.launch.worker_main", str(run.path), str(send)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[send],
                env=environment,
                start_new_session=True,
            )
        os.close(send)
        os.set_blocking(receive, False)
        self.replies = receive

    def take(self, task: Task, log: Path, share: Mapping[str, Any] | None = None) -> None:
        """Hand over a task, to be shared with other workers if `share` says on whose behalf: the arguments of `this_process`.

        A worker that is dead already is noticed at its closed pipe.
        """
        self.task = self.last = task
        assert self.process.stdin is not None
        order = {"stage": task.stage, "shard": task.shard, "log": str(log), "share": share}
        with suppress(BrokenPipeError):
            self.process.stdin.write((json.dumps(order) + "\n").encode())
            self.process.stdin.flush()

    def messages(self) -> tuple[list[dict[str, Any]], bool]:
        """What the worker said since the last look, and whether it has died."""
        closed = False
        while True:
            try:
                data = os.read(self.replies, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                closed = True
                break
            self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        return [json.loads(line) for line in lines], closed

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def dismiss(self) -> None:
        """No more tasks: an idle worker waits for its stdin and hears no signal, so that is what must end."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        """Let the process go: it leaves when its stdin is closed. What a model of it has started goes with it."""
        self.dismiss()
        os.close(self.replies)
        self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def journal_bytes(run: RunFolder, task: Task) -> int:
    """How much the attempts at a task have written: more of it is progress. One that goes meanwhile was of a finished shard."""
    total = 0
    for path in run.files(*task).journals():
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            total += size if size > HEADER_BYTES else 0
    return total


def how_it_died(code: int) -> str:
    """A process's exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}: out of memory, or killed by hand" if name == "SIGKILL" else name
