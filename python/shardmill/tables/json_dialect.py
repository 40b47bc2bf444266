"""The JSON that programs write, as the JSON that the standard allows, piece by piece.

Python writes NaN and infinities, scrapes hold halves of surrogate pairs, and old files hold bytes that are not UTF-8. A strict
parser stops at the first of these, or replaces it silently; here it is marked, so that its record alone is set aside.
"""

from __future__ import annotations

import codecs
import re

_MARK = "\ufdd0"  # a "noncharacter": valid UTF-8, but no text in interchange has it
_HANDLER = "shardmill.marked"
_UNREADABLE = "??"
_MARKED = re.compile(_MARK + r"(\?\?|[89a-f][0-9a-f])")
_ESCAPES = re.compile(rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STRING_OR_NUMBER = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|NaN|-?Infinity|[0-9]{4301,}', re.DOTALL)
_CONSTANTS = {b"NaN": b"null", b"Infinity": b'"Infinity"', b"-Infinity": b'"-Infinity"'}
_SINGLE_ESCAPE = 6
_WINDOW = 2_048  # any 4,301 digits fill at least one window that starts at a multiple of this


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"{_MARK}{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _mark_bytes)


class StrictJson:
    """Rewrites successive pieces of one document. A piece must not end within a character, an escape or a literal."""

    def __init__(self) -> None:
        self._in_string = False
        self.has_marks = False

    def rewrite(self, piece: bytes) -> bytes:
        """The piece as strict JSON with as many lines. NaN, which pandas writes for a missing number, becomes null."""
        try:
            piece.decode()
        except UnicodeDecodeError:
            self.has_marks = True
            piece = piece.decode("utf-8", _HANDLER).encode()
        quotes = piece
        if b"\\" in piece:
            if b"\\ud" in piece or b"\\uD" in piece:
                piece = _ESCAPES.sub(self._mark_half_pair, piece)
            quotes = _ESCAPED.sub(b"", piece)
        in_string = self._in_string
        self._in_string ^= quotes.count(b'"') % 2 == 1
        if b"NaN" in piece or b"Infinity" in piece or _has_many_digits(piece):
            # These may be words of a caption: only outside of strings are they numbers.
            start = _REST_OF_STRING.match(piece).end() if in_string else 0  # type: ignore[union-attr]
            piece = piece[:start] + _STRING_OR_NUMBER.sub(self._standard, piece[start:])
        return piece

    def _standard(self, token: re.Match[bytes]) -> bytes:
        if token[0][:1].isdigit():  # Python refuses to read it, which ends the process if ijson asks for it
            self.has_marks = True
            return f'"{_MARK}{_UNREADABLE}"'.encode()
        return _CONSTANTS.get(token[0], token[0])

    def _mark_half_pair(self, escape: re.Match[bytes]) -> bytes:
        if len(escape[0]) != _SINGLE_ESCAPE:
            return escape[0]
        self.has_marks = True
        return f"{_MARK}{_UNREADABLE}".encode()


def _has_many_digits(piece: bytes) -> bool:
    return any(piece[at : at + _WINDOW].isdigit() for at in range(0, len(piece) - _WINDOW, _WINDOW))


def restore_marks(text: str) -> str:
    """The text with a surrogate for each mark: of a byte as `surrogateescape` has it, of what has no value U+D800."""
    if _MARK not in text:
        return text
    return _MARKED.sub(lambda mark: "\ud800" if mark[1] == _UNREADABLE else chr(0xDC00 + int(mark[1], 16)), text)
