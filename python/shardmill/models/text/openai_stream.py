"""How requests get from the thread of a stream to the event loop, and replies back: several at a time.

Each hand-over wakes the other thread, which costs as much as a good part of a request. So the stream hands over more than may be
under way at once, the loop has the next request at hand when an answer comes, and replies are told a few together.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Generic, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")

TELL_SECONDS = 0.002


class Stream(Generic[Request, Reply]):
    """Answers requests by coroutines on a loop that runs in another thread; at most `most` are handed over and not answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[Request], Awaitable[Reply]], most: int):
        self._loop, self._answer, self._most = loop, answer, most
        self._told: queue.SimpleQueue[list[asyncio.Future[Reply]]] = queue.SimpleQueue()
        self._tasks: set[asyncio.Future[Reply]] = set()
        self._ended: list[asyncio.Future[Reply]] = []

    def replies(self, requests: Iterable[Request]) -> Generator[Reply, None, None]:
        """Take requests as there is room for them; give their replies as they come."""
        source = iter(requests)
        out, ready = 0, deque[asyncio.Future[Reply]]()
        try:
            while True:
                if not ready or out <= self._most // 2:
                    batch = []
                    while out < self._most and (request := next(source, None)) is not None:
                        batch.append(request)
                        out += 1
                    if batch:
                        self._loop.call_soon_threadsafe(self._start, batch)
                if not out:
                    return
                if not ready:
                    ready.extend(self._told.get())
                task = ready.popleft()
                out -= 1
                if task.cancelled():
                    raise CancelledError("the model was closed")
                yield task.result()
        finally:
            with suppress(RuntimeError):  # of a loop that is closed
                self._loop.call_soon_threadsafe(self._cancel)

    def _start(self, batch: list[Request]) -> None:
        for request in batch:
            task: asyncio.Future[Reply] = asyncio.ensure_future(self._answer(request), loop=self._loop)
            self._tasks.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Future[Reply]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of one that nobody waited for any more
        if not self._ended:
            self._loop.call_later(TELL_SECONDS, self._tell)
        self._ended.append(task)

    def _tell(self) -> None:
        ended, self._ended = self._ended, []
        self._told.put(ended)

    def _cancel(self) -> None:
        for task in [*self._tasks]:
            task.cancel()
