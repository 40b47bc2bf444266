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
from shardmill.models.faults import OUT_OF_MEMORY, last_words
from shardmill.models.images import UnreadableImage
from shardmill.util.errors import ModelDied

log = logging.getLogger("shardmill")

WINDOW = 3
"""Batches' worth of requests that are read ahead."""
MAX_BYTES = 4 << 30
"""Decoded pictures that wait."""
FIRST_SIZE = 8
MAX_THREADS = 16

Asked = TypeVar("Asked", contravariant=True)


class Steps(Protocol[Asked]):
    """What a model does with a batch. `load` and `prepare` run in threads, the others in the caller's."""

    def load(self, request: Asked) -> Any:
        """Read and decode what a request names: an object with `width` and `height`. Raises UnreadableImage."""

    def group(self, request: Asked, loaded: Any) -> Hashable:
        """Only requests of one group share a batch: so a row's result does not depend on what it is padded to."""

    def prepare(self, requests: Sequence[Asked], loaded: Sequence[Any]) -> Any:
        """Tensors of a batch, on the model's device. Raises ValueError for an image that the model does not take."""

    def run(self, requests: Sequence[Asked], prepared: Any) -> Any:
        """Run the model; need not wait for a GPU."""

    def replies(self, requests: Sequence[Asked], outcome: Any, seconds: float) -> list[Reply]:
        """The replies to a batch; waits for the GPU. `seconds` have passed since it was launched."""


@dataclass
class BatchSize:
    """How many rows go into a batch: doubles as long as all goes well, halves when memory runs out and stays below then."""

    most: int
    now: int = FIRST_SIZE

    def __post_init__(self) -> None:
        self.now = min(self.now, self.most)

    def went_well(self, rows: int) -> None:
        """A batch of so many rows ran."""
        if rows >= self.now:
            self.now = min(2 * self.now, self.most)

    def too_large(self, rows: int) -> None:
        """A batch of so many rows did not fit."""
        self.most = self.now = max(1, min(self.now, rows // 2))
        log.warning("out of memory with %d images at a time; %d from now on", rows, self.now)


def reading_threads() -> int:
    """As many threads as this process may use cores."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass
class _Batch(Generic[Asked]):
    requests: list[Asked]
    loaded: list[Any]
    prepared: Future[Any] | None
    started: float = 0.0
    outcome: Any = field(default=None, repr=False)
    problem: str = ""


class Batches(Generic[Asked]):
    """Streams requests through `steps`; `name` is what the model is called when it dies."""

    def __init__(self, steps: Steps[Asked], size: BatchSize, name: str, threads: int | None = None):
        self._steps, self.size, self._name = steps, size, name
        self._readers = ThreadPoolExecutor(threads or reading_threads(), "read-images")
        self._preparer = ThreadPoolExecutor(1, "prepare-batch")
        self._mean_bytes = 1 << 20

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._preparer.shutdown(cancel_futures=True)

    def stream(self, requests: Iterable[Asked]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        waiting: deque[tuple[Asked, Future[Any]]] = deque()
        source = iter(requests)
        coming: deque[_Batch[Asked]] = deque()
        launched: _Batch[Asked] | None = None
        try:
            while True:
                self._read_ahead(source, waiting)
                while len(coming) < 2 and waiting:
                    batch, failed = self._choose(waiting)
                    yield from failed
                    if batch is not None:
                        coming.append(batch)
                    self._read_ahead(source, waiting)
                if not coming:
                    break
                following = coming.popleft()
                fits = self._launch(following)
                if launched is not None:
                    yield from self._finish(launched)
                launched = following if fits else None
                if not fits:
                    yield from self._in_parts(following)
            if launched is not None:
                yield from self._finish(launched)
        finally:
            for _, future in waiting:
                future.cancel()

    def _read_ahead(self, source: Iterator[Asked], waiting: deque[tuple[Asked, Future[Any]]]) -> None:
        while len(waiting) < self._window() and (request := next(source, None)) is not None:
            waiting.append((request, self._readers.submit(self._steps.load, request)))

    def _window(self) -> int:
        """How many requests are read ahead; fewer when pictures are large."""
        return max(1, min(WINDOW * self.size.now, MAX_BYTES // self._mean_bytes))

    def _choose(self, waiting: deque[tuple[Asked, Future[Any]]]) -> tuple[_Batch[Asked] | None, list[Reply]]:
        """Take a batch out of `waiting`: the first that can be read, with those of its group; and replies to the unreadable."""
        requests: list[Asked] = []
        loaded: list[Any] = []
        failed: list[Reply] = []
        others: list[tuple[Asked, Future[Any]]] = []
        group: Hashable = None
        while waiting and len(requests) < self.size.now:
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
            self._mean_bytes = max(1, (7 * self._mean_bytes + 3 * found.width * found.height) // 8)
            requests.append(request)
            loaded.append(found)
        waiting.extendleft(reversed(others))
        return (self._batch(requests, loaded) if requests else None), failed

    def _batch(self, requests: list[Asked], loaded: list[Any]) -> _Batch[Asked]:
        return _Batch(requests, loaded, self._preparer.submit(self._steps.prepare, requests, loaded))

    def _launch(self, batch: _Batch[Asked]) -> bool:
        """Run a batch; False if it cannot be as it is: it does not fit into memory, or the model takes one of its images not."""
        batch.started = time.monotonic()

        def work() -> None:
            assert batch.prepared is not None
            batch.outcome = self._steps.run(batch.requests, batch.prepared.result())

        return self._done(batch, work)

    def _done(self, batch: _Batch[Asked], work: Callable[[], None]) -> bool:
        """Do a part of the work on a batch; False if it may go better in parts. Raises ModelDied if the device fails."""
        try:
            work()
        except ValueError as error:
            batch.problem = str(error)
            return False
        except RuntimeError as error:
            if not any(sign in str(error) for sign in OUT_OF_MEMORY):
                raise ModelDied(last_words(self._name, str(error))) from error
            self.size.too_large(len(batch.requests))
            return False
        return True

    def _finish(self, batch: _Batch[Asked]) -> list[Reply]:
        replies: list[Reply] = []
        seconds = time.monotonic() - batch.started
        if not self._done(batch, lambda: replies.extend(self._steps.replies(batch.requests, batch.outcome, seconds))):
            return self._in_parts(batch)
        self.size.went_well(len(batch.requests))
        return replies

    def _in_parts(self, batch: _Batch[Asked]) -> list[Reply]:
        """The replies to a batch that failed, from halves of it, and halves of these."""
        rows = len(batch.requests)
        batch.outcome = batch.prepared = None  # what they hold is in the way
        if rows == 1:
            key = batch.requests[0].key  # type: ignore[attr-defined]
            if batch.problem:
                return [Reply(key, None, "unusable", "unreadable image", batch.problem)]
            return [Reply(key, None, "unusable", "out of memory", "one image alone does not fit into the GPU's memory")]
        replies = []
        for part in (slice(0, rows // 2), slice(rows // 2, rows)):
            half = self._batch(batch.requests[part], batch.loaded[part])
            replies += self._finish(half) if self._launch(half) else self._in_parts(half)
        return replies
