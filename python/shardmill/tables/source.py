"""The bytes of a text file as UTF-8, whatever its encoding, to look ahead in and to skip through."""

from __future__ import annotations

import codecs
from pathlib import Path
from types import TracebackType

from shardmill.util.compressed import ContentReader
from shardmill.util.errors import UserError

READ_SIZE = 2**20
_MARK = "shardmill.undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Turns what a codec cannot decode into 0xff, which no UTF-8 text holds, so that its record is found undecodable.

    Not surrogateescape: it would hand the bytes back, and those may well be UTF-8 (an accent in a file said to be ASCII).
    """
    if isinstance(error, UnicodeDecodeError):
        return "\udcff" * (error.end - error.start), error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


codecs.register_error(_MARK, _mark_undecodable)


def codec_name(encoding: str) -> str:
    """The normal name of a text encoding that can be decoded piece by piece, or UserError."""
    try:
        name = codecs.lookup(encoding).name
        b"a".decode(encoding, "replace")
        codecs.getincrementaldecoder(encoding)(_MARK).decode(b"")
    except (LookupError, UnicodeError, ValueError):
        raise UserError(f"Unknown text encoding {encoding!r}. Examples: utf-8, latin-1, cp1252, utf-16, shift_jis.") from None
    return name


class TextSource:
    """Reads forward through a file, decompressed. The first byte order mark is dropped.

    Args:
        path: The file.
        encoding: None for UTF-8.
        end_line: Whether a newline is added to a last line that has none, as parsers of lines need it.
    """

    def __init__(self, path: Path, encoding: str | None, *, end_line: bool = True) -> None:
        self._path = path
        self._end_line = end_line
        self._file = ContentReader(path)
        name = codec_name(encoding) if encoding else "utf-8"
        self._decoder = None if name in ("utf-8", "utf-8-sig") else codecs.getincrementaldecoder(name)(_MARK)
        self._pending = b""
        self._at = 0
        self._ended = False
        self._fill(len(codecs.BOM_UTF8))
        self._at = len(codecs.BOM_UTF8) if self._pending.startswith(codecs.BOM_UTF8) else 0

    def __enter__(self) -> TextSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def peek(self, size: int) -> tuple[bytes, bool]:
        """The next `size` bytes, fewer only at the end, and whether nothing follows them."""
        self._fill(size)
        return self._pending[self._at : self._at + size], self._ended and self._at + size >= len(self._pending)

    def skip(self, size: int) -> None:
        """Moves on by `size` of the bytes seen by `peek`."""
        self._at += size

    def _fill(self, size: int) -> None:
        missing = size + 1 - (len(self._pending) - self._at)
        if missing <= 0 or self._ended:
            return
        parts = [self._pending[self._at :]]
        while missing > 0 and not self._ended:
            raw = self._file.read(max(missing, READ_SIZE))
            self._ended = not raw
            parts.append(self._utf8(raw))
            missing -= len(parts[-1])
        self._pending, self._at = b"".join(parts), 0
        if self._end_line and self._ended and self._pending and not self._pending.endswith(b"\n"):
            self._pending += b"\n"

    def _utf8(self, raw: bytes) -> bytes:
        if self._decoder is None:
            return raw
        try:
            return self._decoder.decode(raw, final=not raw).encode("utf-8", _MARK)
        except UnicodeError as error:  # not of a character, which is marked, but of the file: utf-16 without its mark
            self._file.close()
            raise UserError(f"{self._path} does not have the encoding that was given: {error}.") from None
