"""Images that several successive requests are about: read ahead in threads, each of them once."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from shardmill.models.batches import MAX_BYTES, reading_threads
from shardmill.models.contract import CaptionRequest

MIN_KEPT = 8
"""Images that are kept whatever their size."""


class HasSize(Protocol):
    """A decoded image, with its size in pixels."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


Image = TypeVar("Image", bound=HasSize)


class ImagePrefetcher(Generic[Image]):
    """Reads images in threads and keeps the last ones.

    Args:
        read: Makes an image of a reference; may raise.
        max_kept: How many images are kept at most; fewer, but at least MIN_KEPT, when they take more than MAX_BYTES.
        threads: As many as cores if not given.
    """

    def __init__(self, read: Callable[[str], Image], max_kept: int = 64, threads: int | None = None):
        self._read, self._max_kept = read, max_kept
        self._pool = ThreadPoolExecutor(threads or reading_threads(), "read-images")
        self._lock = threading.Lock()
        self._futures: OrderedDict[str, Future[Image]] = OrderedDict()

    def prefetch(self, image: str) -> Future[Image]:
        """Begin to read an image, unless it is kept or being read."""
        with self._lock:
            if image not in self._futures:
                self._futures[image] = self._pool.submit(self._read, image)
                while len(self._futures) > self._max_kept or (len(self._futures) > MIN_KEPT and self._bytes() > MAX_BYTES):
                    self._futures.popitem(last=False)
            self._futures.move_to_end(image)
            return self._futures[image]

    def _bytes(self) -> int:
        done = [future.result() for future in self._futures.values() if future.done() and future.exception() is None]
        return sum(3 * image.width * image.height for image in done)

    def get(self, image: str) -> Image:
        """The image. Raises what `read` raises."""
        return self.prefetch(image).result()

    def prefetch_for(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionRequest]:
        """The same requests, delayed by a quarter of `max_kept` different images, which are read meanwhile."""
        waiting: deque[CaptionRequest] = deque()
        different = 0
        for request in requests:
            if not waiting or waiting[-1].image != request.image:
                different += 1
            self.prefetch(request.image)
            waiting.append(request)
            while different > self._max_kept // 4:
                first = waiting.popleft()
                if waiting[0].image != first.image:
                    different -= 1
                yield first
        yield from waiting

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)
