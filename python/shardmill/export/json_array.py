"""A JSON file that is one array, written entry by entry."""

from __future__ import annotations

import json
from typing import IO, Any


class JsonArray:
    """`[`, the entries, one a line, and `]`."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.length = 0

    def add(self, entry: Any) -> None:
        self._file.write((("[\n" if not self.length else ",\n") + json.dumps(entry, ensure_ascii=False)).encode("utf-8"))
        self.length += 1

    def end(self) -> None:
        self._file.write(b"\n]" if self.length else b"[]")
