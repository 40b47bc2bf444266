"""How many requests a server is sent at once, found by trying: TCP's additive increase and multiplicative decrease.

A provider's limits depend on the account and the hour, and are shared with others: a number in a model file is soon wrong.
"""

from __future__ import annotations

import math
import time

DECREASE, SLOWER_DECREASE = 0.5, 0.8
"""What is left of the window after a rejection, and where answers have become far slower."""
SLOWER = 8.0
"""So many times slower than at best, requests wait for one another at the server: its batches alone slow them down less."""
SMOOTHING, SETTLED = 1 / 8, 16
"""The weight of a new time in their mean, and how many answers it takes until that means something."""
FORGETTING = 1.005
"""By so much the best time grows with each answer: prompts change, and one that was too good must not count for ever."""
FEW_TOKENS = 16
"""What reading a prompt takes, in the time of so many tokens of an answer."""
BUSY_STATUSES = (429, 503, 504, 529)
"""The statuses by which servers say that they have too much to do; 529: Anthropic's."""


class RequestWindow:
    """The requests that one server may have in flight.

    Args:
        most: The most that are tried; infinite for a server that is not to be limited.
    """

    def __init__(self, most: float):
        self._most = self.size = most
        self._lowered = -math.inf
        self._mean = self._best = 0.0
        self._answers = 0

    def answered(self, started: float, tokens: int, in_flight: int) -> None:
        """An answer came. One more request at a time is tried after as many answers as are in flight, if all were needed.

        Args:
            started: When the request was sent, in seconds of the monotonic clock.
            tokens: How long the answer is.
            in_flight: How many requests the server had, this one included.
        """
        each = (time.monotonic() - started) / (FEW_TOKENS + tokens)
        self._answers += 1
        self._mean = each if self._answers == 1 else self._mean + SMOOTHING * (each - self._mean)
        if self._answers >= SETTLED:
            self._best = min(self._mean, self._best * FORGETTING) if self._best else self._mean
            if self._mean > SLOWER * self._best:
                self._lower(started, SLOWER_DECREASE)
                return
        if in_flight >= self.size - 1:
            self.size = min(self._most, self.size + 1 / self.size)

    def rejected(self, started: float) -> None:
        """The server was too busy for a request that was sent at this time."""
        self._lower(started, DECREASE)

    def _lower(self, started: float, factor: float) -> None:
        """Lower the window once for all requests that were sent before it was lowered."""
        if math.isinf(self._most) or started <= self._lowered:
            return
        self.size = max(1.0, self.size * factor)
        self._lowered = time.monotonic()
