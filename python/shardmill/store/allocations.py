"""The record of a node while an element has it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from shardmill.store.jobs import Allocation, JobsFolder, record_bytes
from shardmill.util.atomic import replacing

RENEW_SECONDS = 20.0
"""How often the record is touched: a node that vanishes leaves a record whose last touch is the end of the allocation."""


class LiveAllocation:
    """The record of a node that an element has. Used as a context: it is kept up to date inside it, and closed at its end."""

    outcome = "failed"

    def __init__(self, jobs: JobsFolder, allocation: Allocation):
        self._path = jobs.allocation_file(allocation.job, allocation.restart)
        self._allocation = allocation
        self._end = threading.Event()

    def __enter__(self) -> LiveAllocation:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._allocation = self._allocation.model_copy(update={"ended": time.time(), "outcome": self.outcome})
        self._write()

    def _renew(self) -> None:
        while not self._end.wait(RENEW_SECONDS):
            with suppress(OSError):
                os.utime(self._path)

    def _write(self) -> None:
        with replacing(self._path) as file:
            file.write(record_bytes(self._allocation))
