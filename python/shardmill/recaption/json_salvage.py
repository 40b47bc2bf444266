"""What can be read of a JSON list that is corrupt: all of its whole entries, whatever is between them.

Kept by hand, for ijson stops at the first error and cannot go on after it. A job that was killed while it wrote a list, and then
resumed, leaves lists with an entry cut off in the middle or with brackets doubled, and hours of a GPU's work around that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from shardmill.tables.json_cells import constant

BLOCK = 2**20
MAX_VALUE = 16 * BLOCK
NEAR_END = 16  # an escape, a literal or a number cut off by the end of the window is at most this long
OVERLAP = 256
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_constant=constant)


class CorruptValue(Exception):
    """No value could be read at a line and character of the text."""

    def __init__(self, line: int, character: int, detail: str) -> None:
        super().__init__(detail)
        self.line, self.character, self.detail = line, character, detail


class SalvageWindow:
    """A window that moves over JSON of any size.

    Args:
        read: Gives the next characters, so many of them at most, "" at the end.

    Attributes:
        line: The line of the reading position, from 1.
    """

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text, self._at, self._before = "", 0, 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        self.skip("")
        return self._text[self._at : self._at + 1]

    def skip(self, chars: str) -> str:
        """Steps over white space and any of `chars`; those that were there."""
        passed = ""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._advance(found.end() if found else self._at)
            char = self._text[self._at : self._at + 1]
            if char and char in chars:
                passed += char
                self._at += 1
            elif char or self._ended:
                return passed
            else:
                self._more()

    def value(self) -> Any:
        """The next value; raises CorruptValue, and the window stays where the value starts, if there is none."""
        self.skip("")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if self._ended or end + NEAR_END < len(self._text):
                    self._advance(end)
                    return value
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos + NEAR_END >= len(self._text)
                if not cut or self._ended:
                    raise self._corrupt(f"malformed JSON: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise self._corrupt(f"malformed JSON: {error}") from None
            if len(self._text) - self._at > MAX_VALUE:
                raise self._corrupt(f"a value of more than {MAX_VALUE // 2**20} MB")
            self._more()

    def skip_to_object(self, key: str) -> None:
        """Steps to the next object that starts with `key`, or to the end. Nothing within a text looks like one: its quotes would
        be escaped.
        """
        start = re.compile(r'\{\s*"' + re.escape(key) + r'"\s*:')
        self._advance(self._at + 1)
        while not (found := start.search(self._text, self._at)):
            self._advance(len(self._text) if self._ended else max(self._at, len(self._text) - OVERLAP))
            if self._ended:
                return
            self._more()
        self._advance(found.start())

    def _corrupt(self, detail: str) -> CorruptValue:
        return CorruptValue(self.line, self._before + self._at, detail)

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> None:
        block = self._read(BLOCK)
        self._ended = not block
        self._before += self._at
        self._text, self._at = self._text[self._at :] + block, 0
