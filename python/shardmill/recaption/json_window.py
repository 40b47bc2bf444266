"""A window that moves over JSON of any size and can step over what is torn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

BLOCK = 2**20
MAX_VALUE = 16 * BLOCK
NEAR_END = 16  # an escape, a literal or a number that the end of the window has cut is no longer
OVERLAP = 256
SLICE = 2**16
_SPACE = re.compile(r"[ \t\r\n]*")
_PAIR = re.compile(r'[ \t\r\n]*,[ \t\r\n]*"([^"\\\x00-\x1f]*)"[ \t\r\n]*:[ \t\r\n]*"([^"\\\x00-\x1f]*)"(?=[ \t\r\n]*[,}])')
_DECODER = json.JSONDecoder()
Used = TypeVar("Used")


@dataclass(frozen=True)
class Sequel:
    """How values follow one another: what comes before the next, where one may end that another follows, the brackets around."""

    due: re.Pattern[str]
    end: re.Pattern[str]
    brackets: str
    decode: Callable[[str], Any]


OBJECTS = Sequel(
    re.compile(r"[ \t\r\n]*,[ \t\r\n]*(?=\{)"), re.compile(r"\}(?=[ \t\r\n]*,[ \t\r\n]*\{)"), "[]", json.JSONDecoder().decode
)
"""Objects of a list, decoded as dicts."""
PAIRS = Sequel(
    re.compile(r'[ \t\r\n]*,[ \t\r\n]*(?=")'),
    re.compile(r'(?<!\\)"(?=[ \t\r\n]*,[ \t\r\n]*")'),
    "{}",
    json.JSONDecoder(object_pairs_hook=list).decode,
)
"""Keys and values of an object, decoded as a list of pairs; objects within it are such lists too."""


class CorruptJson(Exception):
    """No value could be read. `at_end`: because the text ends, so that nothing follows."""

    def __init__(self, line: int, character: int, detail: str, at_end: bool) -> None:
        super().__init__(detail)
        self.line, self.character, self.detail, self.at_end = line, character, detail, at_end


class JsonWindow:
    """`read(size)` gives the next characters, "" at the end. `line` is that of the reading position, from 1."""

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text, self._at, self._before = "", 0, 0
        self._ended = False
        self._singly_to = 0
        self.line = 1

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        self.skip("")
        return self._text[self._at : self._at + 1]

    def take(self, char: str) -> bool:
        """Steps over `char` if it is the next character."""
        if self.peek() != char:
            return False
        self._at += 1
        return True

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

    def several(self, sequel: Sequel, use: Callable[[Any], Used | None]) -> Used | None:
        """Steps over a comma and as many values as lie in a slice, and gives what `use` makes of them. None, and it steps over
        nothing, where they cannot be decoded together or `use` gives None; then not tried again within that slice.

        The slice starts where a value does and is decoded whole: that it can be, proves that it ends where a value does.
        """
        if self._before + self._at < self._singly_to:
            return None
        if len(self._text) - self._at <= 2 * SLICE and not self._ended:
            self._more()
        due = sequel.due.match(self._text, self._at)
        if not due:
            return None
        start = due.end()
        if found := sequel.end.search(self._text, start + SLICE, start + 2 * SLICE):
            end = found.end()
        else:
            end = self._text.rfind(sequel.brackets[1], start, start + 2 * SLICE) if self._ended else -1
        used = None
        if end >= 0:
            with suppress(ValueError, RecursionError):
                used = use(sequel.decode(sequel.brackets[0] + self._text[start:end] + sequel.brackets[1]))
        if used is None:
            self._singly_to = self._before + max(end, start + SLICE)
        else:
            self._advance(end)
        return used

    def plain_pair(self) -> tuple[str, str] | None:
        """Steps over `, "key": "text"`, if that is what comes, whole and without escapes: much quicker than part by part."""
        found = _PAIR.match(self._text, self._at)
        if not found:
            return None
        self._advance(found.end())
        return found[1], found[2]

    def value(self) -> Any:
        """The next value; raises Torn, at the place where it started, where there is none."""
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
                    at_end = error.msg.startswith("Unterminated string") or error.pos >= len(self._text.rstrip())
                    raise self.torn(f"malformed JSON: {error.msg}", at_end) from None
            except (ValueError, RecursionError) as error:
                raise self.torn(f"malformed JSON: {error}") from None
            if len(self._text) - self._at > MAX_VALUE:
                raise self.torn(f"a value of more than {MAX_VALUE // 2**20} MB")
            self._more()

    def skip_to_object(self, key: str) -> None:
        """Steps to the next object that starts with `key`, or to the end. No text of a value can look like one: its quotes would
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

    def torn(self, detail: str, at_end: bool | None = None) -> CorruptJson:
        """What to raise where the text at the reading position is not as it should be."""
        return CorruptJson(self.line, self._before + self._at, detail, not self.peek() if at_end is None else at_end)

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> None:
        block = self._read(BLOCK)
        self._ended = not block
        self._before += self._at
        self._text, self._at = self._text[self._at :] + block, 0
