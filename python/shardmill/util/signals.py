"""A request to stop, by signal."""

from __future__ import annotations

import signal


class StopFlag:
    """Turns true at SIGTERM, SIGINT or SIGUSR2, so that a worker can write its journal and leave; a second signal acts as usual.

    With `patient` further signals are ignored: a launcher supervises that process, and SLURM sends several.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient
        self._previous = {number: signal.signal(number, self._set) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}

    def _set(self, number: int, frame: object) -> None:
        self.signal = number if self.signal is None else self.signal
        if self._patient:
            return
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def __call__(self) -> bool:
        return self.signal is not None
