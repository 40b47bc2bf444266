"""A JSON file that is one array, written entry by entry."""

from __future__ import annotations

import json
from typing import IO, Any

TOGETHER = 1 << 20
"""Bytes that are written at once: each write lets other threads run first, which takes longer than the write."""


class JsonArray:
    """`[`, the entries, one a line, and `]`; nothing else may be written to the file between the first `add` and `end`."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._pending = bytearray()
        self.length = 0

    def add(self, entry: Any) -> None:
        self._pending += (("[\n" if not self.length else ",\n") + json.dumps(entry, ensure_ascii=False)).encode("utf-8")
        self.length += 1
        if len(self._pending) >= TOGETHER:
            self._write_out()

    def end(self) -> None:
        self._pending += b"\n]" if self.length else b"[]"
        self._write_out()

    def _write_out(self) -> None:
        self._file.write(self._pending)
        self._pending = bytearray()
