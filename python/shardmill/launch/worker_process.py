"""A worker process as its supervisor sees it: it takes tasks over a pipe, reports on them, and keeps its models in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task

HEADER_BYTES = 120
"""A journal of no more bytes holds a header and no row."""


@dataclass(frozen=True)
class WorkerSpec:
    """What one worker of a node has to itself.

    Attributes:
        environment: All its variables, CUDA_VISIBLE_DEVICES with its GPUs among them.
        startup_log: Where it prints before its first task, and afterwards too where tasks have no logs of their own.
        task_log: The log of a task, if each has its own.
        lease: The arguments of `this_process` for the leases on rows that it takes, so that other workers can share its shards;
            None where nobody shares.
    """

    environment: Mapping[str, str]
    startup_log: Path
    task_log: Callable[[Task], Path] | None = None
    lease: Mapping[str, Any] | None = None

    def log(self, task: Task) -> Path:
        """Where a worker prints during a task."""
        return self.task_log(task) if self.task_log else self.startup_log


class WorkerProcess:
    """A child process that does tasks in the order in which it gets them.

    Attributes:
        tasks: The tasks that it was given and has not ended: the first is in progress, a second one may wait behind it. Each with
            the bytes that its journals had before.
        last: The task that it was given last.
        asked_all: Tasks of which the model has all requests.
        cause: Why it is about to end, if it sent that.
        leaving: It has stopped on request and takes no more tasks.
    """

    def __init__(self, run: RunFolder, spec: WorkerSpec):
        self.run, self.spec = run, spec
        self.tasks: dict[Task, int] = {}
        self.last: Task | None = None
        self.asked_all: set[Task] = set()
        self.cause = ""
        self.leaving = False
        self._pending = b""
        spec.startup_log.parent.mkdir(parents=True, exist_ok=True)
        receive, send = os.pipe()
        with open(spec.startup_log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shardmill.launch.worker_main", str(run.path), str(send)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[send],
                env=spec.environment,
                start_new_session=True,  # a Ctrl-C in the terminal must reach the supervisor only
            )
        os.close(send)
        os.set_blocking(receive, False)
        self.replies = receive

    def take(self, task: Task) -> None:
        """Hand over a task. A worker that is dead already is noticed at its closed pipe."""
        self.tasks[task] = journal_bytes(self.run, task)
        self.last = task
        order = {
            "stage": task.stage,
            "shard": task.shard,
            "revision": self.run.plan.revision,
            "log": str(self.spec.log(task)),
            "lease": self.spec.lease,
        }
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write((json.dumps(order) + "\n").encode())
            self.process.stdin.flush()

    def poll_replies(self) -> tuple[list[dict[str, Any]], bool]:
        """The messages that have come since the last call, and whether the process has ended."""
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

    def log_of(self, task: Task) -> Path:
        """The log that tells of a task: its own, or that of the worker's start if it never began the task."""
        own = self.spec.log(task)
        return own if own.exists() else self.spec.startup_log

    def dismiss(self) -> None:
        """Ask the worker to save what it has and leave. It reads its stdin at all times, while a signal may come too early."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def kill(self) -> None:
        """End it at once; its journal keeps what is done."""
        if self.process.poll() is None:
            self.process.kill()

    def close(self) -> None:
        """Wait until it has left, and end what its model has started."""
        self.dismiss()
        os.close(self.replies)
        self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def journal_bytes(run: RunFolder, task: Task) -> int:
    """Bytes that attempts at a task have written: more of them is progress. A journal that vanishes was of a finished shard."""
    total = 0
    for path in run.files(*task).journals():
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            total += size if size > HEADER_BYTES else 0
    return total


def describe_exit(code: int) -> str:
    """A process's exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}: out of memory, or killed by hand" if name == "SIGKILL" else name
