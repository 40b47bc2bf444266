"""Records sorted into many files by a number, with few open files and little memory."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

MAX_HELD = 32 * 2**20
TOGETHER = 1_000
POINTER, NUMBER = 8, 32


class Buckets:
    """`put` records of `width` fields into bucket 0..n in any order; then `take` each bucket once, in the order in which its
    records were put. `folder` is made. A line of a bucket's file is some records as columns, in JSON.
    """

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._width = width
        self._held: defaultdict[int, list[Any]] = defaultdict(list)
        self._bytes = 0

    def put(self, buckets: Iterable[int], *columns: Sequence[Any]) -> None:
        """Each of some records into its bucket. They come as columns: of numbers, or of texts and None."""
        for bucket, record in zip(buckets, zip(*columns, strict=True), strict=True):
            self._held[bucket] += record
        self._bytes += sum(map(_size, columns))
        if self._bytes > MAX_HELD:
            self._flush()

    def take(self, bucket: int) -> Iterator[list[list[Any]]]:
        """The records of a bucket, some at a time, as columns; its file is gone then."""
        self._flush()
        path = self._path(bucket)
        if path.exists():
            with open(path, "rb") as file:
                for line in file:
                    yield json.loads(line)
            path.unlink()

    def _flush(self) -> None:
        step = TOGETHER * self._width
        for bucket, fields in self._held.items():
            with open(self._path(bucket), "ab") as file:
                for start in range(0, len(fields), step):
                    some = fields[start : start + step]
                    columns = [some[place :: self._width] for place in range(self._width)]
                    file.write(json.dumps(columns, ensure_ascii=False).encode() + b"\n")
        self._held.clear()
        self._bytes = 0

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:06}"


def _size(column: Sequence[Any]) -> int:
    """About how many bytes of memory a column takes."""
    if isinstance(next(iter(column), None), int):
        return (POINTER + NUMBER) * len(column)
    return POINTER * len(column) + sum(map(str.__sizeof__, filter(None, column)))
