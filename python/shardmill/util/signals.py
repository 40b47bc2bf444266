"""Requests to stop, by signal, and how they reach the code that waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE_SECONDS = 20.0
"""How long a process that was asked to stop may take. Supervisors kill after 25 s, SLURM after 30 s (KillWait)."""
POLL_SECONDS = 0.25
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""The signals that ask a process to stop. A batch script names USR1 or USR2 (`--signal`) to come before the time limit."""


class StopFlag:
    """Turns true at one of the signals STOPPING, so that a worker can write its journal and leave; a second signal acts as usual.

    With `patient` further signals are ignored: a launcher supervises that process, and SLURM sends several.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient
        self._previous = {number: signal.signal(number, self._set) for number in STOPPING}

    def _set(self, number: int, frame: object) -> None:
        self.signal = number if self.signal is None else self.signal
        if not self._patient:
            self.restore()

    def restore(self) -> None:
        """Let signals act as before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.signal is not None


def end_in_time(should_stop: Callable[[], bool], end: Callable[[], object]) -> threading.Event:
    """Call `end`, in another thread, GRACE_SECONDS after `should_stop` turned true, unless the event is set that is returned.

    A call into a library may take minutes, and no request to stop reaches it.
    """
    left = threading.Event()

    def watch() -> None:
        while not should_stop():
            if left.wait(POLL_SECONDS):
                return
        if not left.wait(GRACE_SECONDS):
            end()

    threading.Thread(target=watch, name="end-in-time", daemon=True).start()
    return left


class _Test(threading.local):
    test: Callable[[], bool] | None = None


_current = _Test()


@contextmanager
def stopping_when(test: Callable[[], bool]) -> Iterator[None]:
    """Have `stop_requested` answer with `test` in this thread until the block ends."""
    before, _current.test = _current.test, test
    try:
        yield
    finally:
        _current.test = before


def stop_requested() -> bool:
    """Whether the worker that this thread works for is to stop: then nothing that takes long should be begun or waited for."""
    return _current.test is not None and _current.test()
