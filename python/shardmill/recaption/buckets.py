"""Records sorted into many files by a number, with few open files and little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

MOST_HELD = 32 * 2**20
_decode = json.JSONDecoder().raw_decode


def _encode(value: Any) -> str:
    """Text, whole numbers, nothing and lists of these as JSON: several times as fast as a JSONEncoder is with small records."""
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else f"[{','.join(map(_encode, value))}]"


class Buckets:
    """`put` records into bucket 0..n in any order; then `take` each bucket once, in the order in which its records were put."""

    def __init__(self, folder: Path, most_held: int = MOST_HELD) -> None:
        folder.mkdir()
        self._folder = folder
        self._most = most_held
        self._held: dict[int, list[bytes]] = {}
        self._bytes = 0

    def put(self, bucket: int, record: list[Any]) -> None:
        data = _encode(record).encode("utf-8")
        self._held.setdefault(bucket, []).append(data)
        self._bytes += len(data) + 64  # what Python itself needs
        if self._bytes > self._most:
            self._flush()

    def take(self, bucket: int) -> Iterator[list[Any]]:
        """The records of a bucket; its file is gone then."""
        self._flush()
        path = self._path(bucket)
        if path.exists():
            with open(path, "rb") as file:
                for line in file:
                    yield _decode(line.decode("utf-8"))[0]
            path.unlink()

    def _flush(self) -> None:
        for bucket, lines in self._held.items():
            with open(self._path(bucket), "ab") as file:
                file.write(b"\n".join(lines) + b"\n")
        self._held, self._bytes = {}, 0

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:06}"
