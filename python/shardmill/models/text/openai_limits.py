"""Requests and tokens per minute, as providers grant them."""

from __future__ import annotations

import asyncio
import time


class Allowance:
    """So many units a minute, granted evenly: a bucket that fills at that rate and holds ten seconds' worth."""

    def __init__(self, per_minute: float | None):
        self._rate = per_minute / 60 if per_minute else None
        self._most = self._rate * 10 if self._rate else 0.0
        self._level = self._most
        self._filled = time.monotonic()

    async def take(self, units: float) -> None:
        """Wait until `units` may be used. More than the bucket holds is granted when it is full, and owed."""
        if self._rate is None:
            return
        while True:
            now = time.monotonic()
            self._level = min(self._most, self._level + (now - self._filled) * self._rate)
            self._filled = now
            need = min(units, self._most)
            if self._level >= need:
                self._level -= units
                return
            await asyncio.sleep((need - self._level) / self._rate)

    def complete_publication(self, estimated: float, used: float) -> None:
        """Put right what was taken by estimate."""
        if self._rate is not None:
            self._level += estimated - used
