"""A JSON document, read value by value: a list of objects, {id: caption} or {id: {...}}."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.tables.base import (
    MALFORMED_JSON,
    MAX_RECORD,
    NOT_AN_OBJECT,
    RAW_LIMIT,
    UNDECODABLE,
    BadRecord,
    raw_text,
)
from shardmill.tables.json_cells import SURROGATE, JsonRecord, RecordTable, cell_texts, constant, is_unicode
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError

BLOCK_SIZE = 2**20
ID = "id"
CAPTION = "caption"
NUMBER_TAIL = 2  # "1e+5" cut before its 5 reads as 1 with two characters behind it
_SPACE = re.compile(r"[ \t\r\n]*")
_UNDECODED = re.compile("[\udc80-\udcff]")
_DECODER = json.JSONDecoder(parse_constant=constant)


class JsonTable(RecordTable):
    """Columns are the keys of the first 1,000 records, after `id` where the document is an object.

    A fault in the document ends the reading with UserError: what follows it cannot be told apart.
    """

    format = "json"

    usual_block = BLOCK_SIZE

    def _records(self, path: Path, encoding: str | None) -> Iterator[JsonRecord | BadRecord]:
        with TextSource(path, encoding) as source:
            yield from _Document(path, source, self._block_size).records()


@dataclass(frozen=True, slots=True)
class JsonEntry:
    """A value of a document: the key of the list or member it stands in ("" in a list at the top), its place in that list (None
    for a member that is no list), and its line.
    """

    key: str
    place: int | None
    line: int
    value: Any


def json_entries(path: Path, lists: Container[str] | None = None) -> Iterator[JsonEntry]:
    """The values of a document one by one: of a list at the top, of the lists under its keys, and its other members.

    Memory does not grow with the file. `lists` names the keys whose lists are taken apart; other members are skipped unread by
    the caller, as one entry. Raises UserError naming the line of a fault.
    """
    with TextSource(path, None) as source:
        yield from _Document(path, source, BLOCK_SIZE).entries(lists)


class _Document:
    """A window of the document's text that moves forward, and the number of the line at its reading position."""

    def __init__(self, path: Path, source: TextSource, block_size: int) -> None:
        self._path = path
        self._source = source
        self._block_size = block_size
        self._text = ""
        self._tail = b""
        self._at = 0
        self._line = 1
        self._ended = False

    def records(self) -> Iterator[JsonRecord | BadRecord]:
        opening = self._next_char()
        if opening not in ("[", "{"):
            raise self._error(self._at, "a list or an object is expected")
        self._advance(self._at + 1)
        yield from self._elements("]") if opening == "[" else self._members()
        if self._next_char():
            raise self._error(self._at, "text behind the end of the document")

    def entries(self, lists: Container[str] | None) -> Iterator[JsonEntry]:
        opening = self._next_char()
        if opening not in ("[", "{"):
            raise self._error(self._at, "a list or an object is expected")
        if opening == "[":
            yield from self._list("")
        else:
            self._advance(self._at + 1)
            first = True
            while self._more("}", first):
                first, line = False, self._line
                key = self._key()
                if self._next_char() == "[" and (lists is None or key in lists):
                    yield from self._list(key)
                else:
                    yield JsonEntry(key, None, line, self._value()[0])
        if self._next_char():
            raise self._error(self._at, "text behind the end of the document")

    def _list(self, key: str) -> Iterator[JsonEntry]:
        self._advance(self._at + 1)
        place = 0
        while self._more("]", first=place == 0):
            line = self._line
            yield JsonEntry(key, place, line, self._value()[0])
            place += 1

    def _key(self) -> str:
        key, _ = self._value()
        if not isinstance(key, str) or self._next_char() != ":":
            raise self._error(self._at, "a key and a colon are expected")
        self._advance(self._at + 1)
        return key

    def _elements(self, closing: str) -> Iterator[JsonRecord | BadRecord]:
        row_id = 0
        while self._more(closing, first=row_id == 0):
            line = self._line
            value, raw = self._value()
            yield _record(row_id, line, value, raw)
            row_id += 1

    def _members(self) -> Iterator[JsonRecord | BadRecord]:
        row_id, of_objects = 0, False
        while self._more("}", first=row_id == 0):
            line = self._line
            key, raw_key = self._value()
            if not isinstance(key, str) or self._next_char() != ":":
                raise self._error(self._at, "a key and a colon are expected")
            self._advance(self._at + 1)
            self._next_char()
            value, raw = self._value()
            if isinstance(value, list) and value and isinstance(value[0], dict):
                raise UserError(
                    f"{self._path}: the records stand in a list under the key {key!r} (line {line}). "
                    "Save that list as a file of its own."
                )
            of_objects = isinstance(value, dict) if row_id == 0 else of_objects
            values = value if of_objects else {CAPTION: value}
            if isinstance(values, dict):
                values = {ID: key} | values | {ID: key}
            yield _record(row_id, line, values, f"{raw_key}: {raw}")
            row_id += 1

    def _more(self, closing: str, first: bool) -> bool:
        """Steps over the comma before the next value; False, behind the bracket, where there is none."""
        char = self._next_char()
        if char == closing:
            self._advance(self._at + 1)
            return False
        if first:
            return True
        if char != ",":
            raise self._error(self._at, f"',' or '{closing}' is expected")
        self._advance(self._at + 1)
        self._next_char()
        return True

    def _next_char(self) -> str:
        """Steps over white space; the character there, or "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._advance(found.end() if found else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read(self._block_size)

    def _value(self) -> tuple[Any, str]:
        """The value at the reading position, and its text."""
        wanted = self._block_size
        while True:
            fault: json.JSONDecodeError | None = None
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end + NUMBER_TAIL < len(self._text) or self._ended:
                    raw = self._text[self._at : end]
                    self._advance(end)
                    return value, raw
            except json.JSONDecodeError as error:
                fault = error
            except (ValueError, RecursionError) as error:
                raise self._error(self._at, str(error)) from None
            if self._ended:
                raise self._error(fault.pos if fault else self._at, fault.msg if fault else "the document is cut off")
            if wanted >= MAX_RECORD:
                what = fault.msg if fault else "a long value"
                raise self._error(fault.pos if fault else self._at, f"{what}, or a record of more than {MAX_RECORD // 2**20} MB")
            self._read(wanted)
            wanted *= 2

    def _advance(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _read(self, size: int) -> None:
        data, self._ended = self._source.peek(size)
        self._source.skip(len(data))
        data = self._tail + data
        # A character may be cut at the end of the block: the bytes behind the last ASCII byte or lead byte wait for the next.
        cut = len(data) if self._ended else _last_whole(data)
        self._tail = data[cut:]
        self._text = self._text[self._at :] + data[:cut].decode("utf-8", "surrogateescape")
        self._at = 0

    def _error(self, at: int, what: str) -> UserError:
        line = self._line + self._text.count("\n", self._at, at)
        return UserError(f"{self._path}: malformed JSON on line {line}: {what}. Mend it: nothing behind a fault can be read.")


def _last_whole(data: bytes) -> int:
    """Where the last character starts if it may go on behind `data`, else the length of `data`."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            return len(data) - back
        if byte < 0x80:
            break
    return len(data)


def _record(row_id: int, line: int, value: Any, raw: str) -> JsonRecord | BadRecord:
    def bad(reason: str, detail: str) -> BadRecord:
        return BadRecord(row_id, line, reason, detail, raw_text(raw[:RAW_LIMIT].encode("utf-8", "surrogateescape")))

    if not raw.isascii() and _UNDECODED.search(raw):
        return bad(UNDECODABLE, "it holds bytes that are not UTF-8")
    if not isinstance(value, dict):
        return bad(NOT_AN_OBJECT, f"a JSON {type(value).__name__}")
    try:
        texts = cell_texts(value)
    except RecursionError as error:
        return bad(MALFORMED_JSON, str(error))
    if "\\u" in raw and not is_unicode(texts):
        return bad(MALFORMED_JSON, SURROGATE)
    return JsonRecord(row_id, line, texts, len(raw))
