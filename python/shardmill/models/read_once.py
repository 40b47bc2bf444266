"""Images that several requests in a row are about: read ahead by threads, each of them once."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from shardmill.models.batches import MAX_BYTES, reading_threads
from shardmill.models.contract import CaptionRequest

FEW = 8


class Sized(Protocol):
    """A picture."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


Image = TypeVar("Image", bound=Sized)


class ReadOnce(Generic[Image]):
    """Reads images by `read` in threads and keeps the last `kept` of them."""

    def __init__(self, read: Callable[[str], Image], kept: int = 64, threads: int | None = None):
        self._read, self._kept = read, kept
        self._pool = ThreadPoolExecutor(threads or reading_threads(), "read-images")
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Future[Image]] = OrderedDict()

    def start(self, image: str) -> Future[Image]:
        """Begin to read an image, unless that was done already."""
        with self._lock:
            if image not in self._found:
                self._found[image] = self._pool.submit(self._read, image)
                while len(self._found) > self._kept or (len(self._found) > FEW and self._bytes() > MAX_BYTES):
                    self._found.popitem(last=False)
            self._found.move_to_end(image)
            return self._found[image]

    def _bytes(self) -> int:
        done = [future.result() for future in self._found.values() if future.done() and future.exception() is None]
        return sum(3 * image.width * image.height for image in done)

    def get(self, image: str) -> Image:
        """The image. Raises what `read` raises."""
        return self.start(image).result()

    def ahead(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionRequest]:
        """The same requests, while the images of the next ones are read."""
        waiting: deque[CaptionRequest] = deque()
        different = 0
        for request in requests:
            if not waiting or waiting[-1].image != request.image:
                different += 1
            self.start(request.image)
            waiting.append(request)
            while different > self._kept // 4:
                first = waiting.popleft()
                if waiting[0].image != first.image:
                    different -= 1
                yield first
        yield from waiting

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)
