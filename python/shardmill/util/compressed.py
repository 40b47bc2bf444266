"""Files that may be compressed, as the bytes that they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import IO

from shardmill.util.errors import UserError

MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".zstd"}
READ_SIZE = 2**17
CUT_OFF = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def inner_suffix(path: Path) -> str:
    """The suffix of a file in lower case, of what is inside for one that is compressed.

    >>> inner_suffix(Path("a.jsonl.GZ"))
    '.jsonl'
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in SUFFIXES else suffix


class ContentReader:
    """Reads a file forward; one that is compressed with gzip, bzip2, xz or zstd is decompressed. `kind` says which, or is None.

    Raises:
        OSError: As `open` does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw = path.open("rb", buffering=0)
        start = self._raw.read(6)
        self._raw.seek(0)
        self.kind = next((kind for mark, kind in MARKS.items() if start.startswith(mark)), None)
        self._content = _opened(self._raw, self.kind)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end. Raises UserError where a compressed file is damaged or cut off."""
        try:
            return self._content.read(size)
        except (*CUT_OFF, OSError) as error:
            if self.kind is None:
                raise
            self.close()
            raise UserError(f"{self._path} is cut off or damaged ({self.kind}: {error}). Copy or download it again.") from error

    def close(self) -> None:
        """Close the file."""
        if self._content is not self._raw:
            self._content.close()
        self._raw.close()


def _opened(raw: io.FileIO, kind: str | None) -> IO[bytes] | io.FileIO | io.BufferedReader:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if kind == "bzip2":
        return bz2.BZ2File(raw)
    if kind == "xz":
        return lzma.LZMAFile(raw)
    return io.BufferedReader(_Zstd(raw), READ_SIZE) if kind == "zstd" else raw


class _Zstd(io.RawIOBase):
    """The frames of a zstd file, one behind the other; the library's own reader ends without a word where one is cut off."""

    def __init__(self, raw: io.FileIO) -> None:
        import zstandard

        self._raw = raw
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame = self._new_frame()
        self._started, self._pending = False, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._pending:
            data = self._frame.unused_data if self._frame.eof else self._raw.read(READ_SIZE)
            if self._frame.eof:
                self._frame, self._started = self._new_frame(), False
                data = data or self._raw.read(READ_SIZE)
            if not data:
                if self._started:
                    raise EOFError("the last frame does not end")
                return 0
            self._started = True
            try:
                self._pending = self._frame.decompress(data)
            except self._error as error:
                raise EOFError(str(error)) from error
        size = min(len(buffer), len(self._pending))
        buffer[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size
