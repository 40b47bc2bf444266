"""A JSON file that is one array, written entry by entry."""

from __future__ import annotations

import json
from typing import IO, Any

WRITE_SIZE = 1 << 20
"""Bytes per write: each write releases the GIL, and getting it back takes longer than the write itself."""


class JsonArray:
    """`[`, the entries, one a line, and `]`; nothing else may be written to the file between the first `add` and `end`."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._pending = bytearray()
        self.length = 0

    def add(self, entry: Any) -> None:
        """Write an entry."""
        self._pending += (("[\n" if not self.length else ",\n") + json.dumps(entry, ensure_ascii=False)).encode("utf-8")
        self.length += 1
        if len(self._pending) >= WRITE_SIZE:
            self._write_out()

    def end(self) -> None:
        """Write the closing bracket."""
        self._pending += b"\n]" if self.length else b"[]"
        self._write_out()

    def _write_out(self) -> None:
        self._file.write(self._pending)
        self._pending = bytearray()
