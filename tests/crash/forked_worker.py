"""The workers of a launcher as forks of it: starting Python and importing everything would take most of a trial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from shardmill.util.exits import user_errors

MAX_SECONDS = 120
kept_open: set[int] = set()
"""Descriptors that a worker inherits beside its own: the log of the shim."""


class ForkedWorker:
    """What `WorkerProcess` uses of `subprocess.Popen`, for the module `shardmill.launch.worker_main` only."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        stdin: int,
        stdout: IO[bytes],
        stderr: IO[bytes],
        pass_fds: Sequence[int],
        env: Mapping[str, str],
        start_new_session: bool,
    ):
        assert words[1:3] == ["-m", "shardmill.launch.worker_main"] and start_new_session and stdin == subprocess.PIPE
        self.returncode: int | None = None
        orders, ours = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _work(words[3:], orders, stdout.fileno(), pass_fds, env)
        os.close(orders)
        self.stdin: IO[bytes] = os.fdopen(ours, "wb")

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _wait(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _work(words: Sequence[str], orders: int, output: int, own: Sequence[int], env: Mapping[str, str]) -> None:
    code = 1
    try:
        os.setsid()
        signal.alarm(MAX_SECONDS)
        os.dup2(orders, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for handle in map(int, os.listdir("/proc/self/fd")):
            if handle > 2 and handle not in own and handle not in kept_open:
                _close(handle)
        os.environ.clear()
        os.environ.update(env)
        from shardmill.launch.worker_main import main

        main(*words)
        code = 0
    except BaseException:  # noqa: BLE001 (a process ends here, and says why in its log)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _close(handle: int) -> None:
    try:
        os.close(handle)
    except OSError:  # the listing's own
        return


def _apart(finish_ingest: Callable[[Any], None]) -> Callable[[Any], None]:
    """Reading the input starts Polars' threads, which a process that is to fork its workers must not have."""

    def apart(run: Any) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code: Any = 1
            try:
                with user_errors():
                    finish_ingest(run)
                code = 0
            except SystemExit as end:
                code = end.code
            except BaseException:  # noqa: BLE001 (as above)
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code < 0:  # a signal that was meant for a worker; a launcher would have got it itself
            if -code != signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        if code:
            sys.exit(code)

    return apart


def use_forked_workers() -> None:
    """Have launchers in this process fork their workers, and finish an ingest in a process of its own."""
    from shardmill.cli import launcher
    from shardmill.launch import worker_process

    launcher.finish_ingest = _apart(launcher.finish_ingest)

    stand_in: Any = type("subprocess", (), {"Popen": ForkedWorker, "PIPE": subprocess.PIPE})
    worker_process.subprocess = stand_in
