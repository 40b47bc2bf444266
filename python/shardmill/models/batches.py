"""Images through a model in batches, so that the model never waits for a disk or a decoder.

Threads read and decode what comes next, one more thread makes it into tensors, and the caller's thread only runs the model and
hands out replies. On a GPU the next batch is launched before the last one's results are fetched.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from shardmill.models.contract import Reply
from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.models.images import UnreadableImage
from shardmill.util.errors import ModelDied
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

WINDOW = 3
"""Batches' worth of requests that are read ahead."""
MAX_BYTES = 4 << 30
"""Decoded images that wait, in bytes."""
FIRST_SIZE = 8
MAX_THREADS = 16

Item = TypeVar("Item", contravariant=True)


class BatchSteps(Protocol[Item]):
    """What a model does with a batch. `load` and `prepare` run in threads, the others in the caller's."""

    def load(self, request: Item) -> Any:
        """Read and decode what a request names: an object with `width` and `height`. Raises UnreadableImage."""

    def group(self, request: Item, loaded: Any) -> Hashable:
        """Only requests of one group share a batch, so that a row's result does not depend on what it is padded to."""

    def prepare(self, requests: Sequence[Item], loaded: Sequence[Any]) -> Any:
        """Tensors of a batch, on the model's device. Raises ValueError for an image that the model does not take."""

    def run(self, requests: Sequence[Item], prepared: Any) -> Any:
        """Run the model; may return before a GPU is done."""

    def replies(self, requests: Sequence[Item], outcome: Any, seconds: float) -> list[Reply]:
        """The replies to a batch; waits for the GPU. `seconds` is the time since it was launched."""


@dataclass
class BatchSize:
    """How many rows go into a batch: doubles while batches fit into memory; after one that did not fit, it only shrinks.

    `limit` is the most that is tried, `rows` the present number.
    """

    limit: int
    rows: int = FIRST_SIZE

    def __post_init__(self) -> None:
        self.rows = min(self.rows, self.limit)

    def grow(self, rows: int) -> None:
        """A batch of `rows` rows fitted into memory: try more, if it was a full one."""
        if rows >= self.rows:
            self.rows = min(2 * self.rows, self.limit)

    def shrink(self, rows: int) -> None:
        """A batch of `rows` rows did not fit into memory: half as many from now on."""
        self.limit = self.rows = max(1, min(self.rows, rows // 2))
        log.warning("out of memory with %d images at a time; %d from now on", rows, self.rows)


def reading_threads() -> int:
    """The number of cores that this process may use, at most MAX_THREADS."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass
class _Batch(Generic[Item]):
    requests: list[Item]
    loaded: list[Any]
    prepared: Future[Any] | None
    started: float = 0.0
    outcome: Any = field(default=None, repr=False)
    problem: str = ""


class Batches(Generic[Item]):
    """Streams requests through a model in batches.

    Args:
        steps: What the model does with a batch.
        size: How many rows a batch has.
        name: What the model is called in the message when it dies.
        threads: Threads that read and decode; as many as cores if not given.
    """

    def __init__(self, steps: BatchSteps[Item], size: BatchSize, name: str, threads: int | None = None):
        self._steps, self.size, self._name = steps, size, name
        self._readers = ThreadPoolExecutor(threads or reading_threads(), "read-images")
        self._preparer = ThreadPoolExecutor(1, "prepare-batch")
        self._mean_bytes = 1 << 20

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._preparer.shutdown(cancel_futures=True)

    def stream(self, requests: Iterable[Item]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        waiting: deque[tuple[Item, Future[Any]]] = deque()
        source = iter(requests)
        queued: deque[_Batch[Item]] = deque()
        launched: _Batch[Item] | None = None
        try:
            while True:
                self._read_ahead(source, waiting)
                while len(queued) < 2 and waiting:
                    batch, failed = self._next_batch(waiting)
                    yield from failed
                    if batch is not None:
                        queued.append(batch)
                    self._read_ahead(source, waiting)
                if not queued or stop_requested():
                    break
                batch_to_launch = queued.popleft()
                fits = self._launch(batch_to_launch)
                # Only now are the last batch's results fetched: the GPU already has the next batch, and does not idle meanwhile.
                if launched is not None:
                    yield from self._finish(launched)
                launched = batch_to_launch if fits else None
                if not fits:
                    yield from self._run_halves(batch_to_launch)
            if launched is not None:
                yield from self._finish(launched)
        finally:
            for _, future in waiting:
                future.cancel()

    def _read_ahead(self, source: Iterator[Item], waiting: deque[tuple[Item, Future[Any]]]) -> None:
        while len(waiting) < self._window() and (request := next(source, None)) is not None:
            waiting.append((request, self._readers.submit(self._steps.load, request)))

    def _window(self) -> int:
        """How many requests are read ahead; fewer when images are large."""
        return max(1, min(WINDOW * self.size.rows, MAX_BYTES // self._mean_bytes))

    def _next_batch(self, waiting: deque[tuple[Item, Future[Any]]]) -> tuple[_Batch[Item] | None, list[Reply]]:
        """Take a batch out of `waiting`: the first readable request with those of its group; and replies to the unreadable.

        Requests of other groups go back to the front in their order, so that none waits for ever.
        """
        requests: list[Item] = []
        loaded: list[Any] = []
        failed: list[Reply] = []
        others: list[tuple[Item, Future[Any]]] = []
        group: Hashable = None
        while waiting and len(requests) < self.size.rows:
            request, future = waiting.popleft()
            try:
                found = future.result()
            except UnreadableImage as error:
                failed.append(Reply(request.key, None, "unusable", "unreadable image", str(error)))  # type: ignore[attr-defined]
                continue
            belongs_to = self._steps.group(request, found)
            if requests and belongs_to != group:
                others.append((request, future))
                continue
            group = belongs_to
            # a moving average of 3 bytes a pixel, by which `_window` keeps what waits below MAX_BYTES
            self._mean_bytes = max(1, (7 * self._mean_bytes + 3 * found.width * found.height) // 8)
            requests.append(request)
            loaded.append(found)
        waiting.extendleft(reversed(others))
        return (self._batch(requests, loaded) if requests else None), failed

    def _batch(self, requests: list[Item], loaded: list[Any]) -> _Batch[Item]:
        return _Batch(requests, loaded, self._preparer.submit(self._steps.prepare, requests, loaded))

    def _launch(self, batch: _Batch[Item]) -> bool:
        """Run a batch; False if it has to be split: it does not fit into memory, or the model refuses one of its images."""
        batch.started = time.monotonic()

        def work() -> None:
            assert batch.prepared is not None
            batch.outcome = self._steps.run(batch.requests, batch.prepared.result())

        return self._attempt(batch, work)

    def _attempt(self, batch: _Batch[Item], work: Callable[[], None]) -> bool:
        """Do a part of the work on a batch; False if it has to be split. Raises ModelDied if the device fails."""
        try:
            work()
        except ValueError as error:
            batch.problem = str(error)
            return False
        except RuntimeError as error:
            if not any(sign in str(error) for sign in OUT_OF_MEMORY):
                raise ModelDied(failure_message(self._name, str(error))) from error
            self.size.shrink(len(batch.requests))
            return False
        return True

    def _finish(self, batch: _Batch[Item]) -> list[Reply]:
        replies: list[Reply] = []
        seconds = time.monotonic() - batch.started
        if not self._attempt(batch, lambda: replies.extend(self._steps.replies(batch.requests, batch.outcome, seconds))):
            return self._run_halves(batch)
        self.size.grow(len(batch.requests))
        return replies

    def _run_halves(self, batch: _Batch[Item]) -> list[Reply]:
        """The replies to a batch that failed, from its halves, and theirs: at last only the image to blame is left without."""
        rows = len(batch.requests)
        batch.outcome = batch.prepared = None  # frees their memory on the device before the halves need it
        if rows == 1:
            key = batch.requests[0].key  # type: ignore[attr-defined]
            if batch.problem:
                return [Reply(key, None, "unusable", "unreadable image", batch.problem)]
            return [Reply(key, None, "unusable", "out of memory", "one image alone does not fit into the GPU's memory")]
        replies = []
        for part in (slice(0, rows // 2), slice(rows // 2, rows)):
            half = self._batch(batch.requests[part], batch.loaded[part])
            replies += self._finish(half) if self._launch(half) else self._run_halves(half)
        return replies
