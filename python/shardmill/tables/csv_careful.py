"""How CSV is laid out, and the careful way through it: record by record. Sets the bad records aside and keeps the rest."""

from __future__ import annotations

from dataclasses import dataclass

from shardmill.tables.base import (
    MALFORMED_CSV,
    RAW_LIMIT,
    UNDECODABLE,
    WRONG_CELLS,
    BadRecord,
    Batch,
    BatchBuilder,
    raw_text,
)

QUOTE = ord('"')
NEWLINE = ord("\n")
RETURN = ord("\r")
MAX_FIELD_LINES = 1_000  # a quoted field over more lines than this is an unclosed quote
BLANK, MAX_BLANKS = ord(" "), 16


@dataclass(frozen=True)
class Layout:
    """Columns in order, the delimiter as a byte, whether double quotes have a meaning, and whether blanks at cells have none."""

    columns: tuple[str, ...]
    delimiter: int
    quoted: bool
    trimmed: bool = False


@dataclass(frozen=True)
class CsvPosition:
    """Where a block starts: the ordinal of its first record and the number of its first line."""

    row_id: int
    line: int


@dataclass(frozen=True)
class Parsed:
    """The records of a block, how many bytes and lines they took, and how many records there were, good and bad."""

    batch: Batch
    size: int
    lines: int

    @property
    def records(self) -> int:
        return self.batch.frame.height + len(self.batch.bad)


class MalformedRecord(ValueError):
    """The record does not follow the rules of quoting."""


class IncompleteRecord(ValueError):
    """The record continues after the data at hand."""


class CarefulParser:
    """Parses blocks of one file in order.

    A record with a quoting error ends with its line. What follows may be the rest of its text, so a quote inside an unquoted
    field is an error until a record without errors was read; elsewhere it is text, as for Excel, pandas and Python's csv.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.resuming = False

    def parse(self, data: bytes, at_end: bool, position: CsvPosition) -> Parsed:
        """The complete records at the start of `data`; size 0 where not even one is complete."""
        builder = BatchBuilder(self._layout.columns)
        at, line, row_id = 0, position.line, position.row_id
        while at < len(data):
            if data.startswith((b"\n", b"\r\n"), at):
                at, line = data.index(b"\n", at) + 1, line + 1
                continue
            try:
                end = self._record(builder, data, at, at_end, CsvPosition(row_id, line))
            except IncompleteRecord:
                break
            line += data.count(b"\n", at, end)
            at, row_id = end, row_id + 1
        return Parsed(builder.take(), at, line - position.line)

    def _record(self, builder: BatchBuilder, data: bytes, at: int, at_end: bool, position: CsvPosition) -> int:
        """Adds the record that starts at `at`, as good or as bad, and returns where it ends."""
        try:
            cells, end = split_record(data, at, self._layout, at_end, strict=self.resuming)
        except MalformedRecord as error:
            end = data.index(b"\n", at) + 1
            builder.add_bad(BadRecord(position.row_id, position.line, MALFORMED_CSV, str(error), raw_text(data[at:end])))
            self.resuming = True
            return end
        self.resuming = False
        expected = len(self._layout.columns)
        try:
            texts = [cell.decode() for cell in cells]
        except UnicodeDecodeError as error:
            detail = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
            builder.add_bad(BadRecord(position.row_id, position.line, UNDECODABLE, detail, raw_text(data[at:end])))
            return end
        if len(texts) == expected:
            builder.add(position.row_id, position.line, texts, end - at)
        else:
            detail = f"{len(texts)} cells where the header has {expected}"
            raw = raw_text(data[at : min(end, at + 4 * RAW_LIMIT)])
            builder.add_bad(BadRecord(position.row_id, position.line, WRONG_CELLS, detail, raw))
        return end


def split_record(data: bytes, at: int, layout: Layout, at_end: bool, strict: bool = False) -> tuple[list[bytes], int]:
    """The cells of the record that starts at `at`, and where the next one starts.

    `strict` refuses a quote inside an unquoted field. Raises MalformedRecord, or IncompleteRecord where more data is needed.
    """
    delimiter = bytes((layout.delimiter,))
    newline = data.find(b"\n", at)
    if newline < 0:
        raise IncompleteRecord
    if not layout.quoted or data.find(b'"', at, newline) < 0:
        return _unquoted(data, at, newline).split(delimiter), newline + 1
    cells: list[bytes] = []
    while True:
        if layout.trimmed and data[at] == BLANK and data[at : at + MAX_BLANKS].lstrip(b" ").startswith(b'"'):
            at = data.index(b'"', at)
        if data[at] == QUOTE:
            closing = _closing_quote(data, at + 1, at_end)
            cells.append(data[at + 1 : closing].replace(b'""', b'"'))
            at = closing + 1
            if data.startswith((b"\n", b"\r\n"), at):
                return cells, data.index(b"\n", at) + 1
            if not data.startswith(delimiter, at):
                raise MalformedRecord("text after a closing quote, or a quote that is not doubled")
            at += 1
            continue
        newline = data.find(b"\n", at)
        if newline < 0:
            raise IncompleteRecord
        stop = data.find(delimiter, at, newline)
        cell = _unquoted(data, at, newline) if stop < 0 else data[at:stop]
        if strict and b'"' in cell:
            raise MalformedRecord("a quote inside an unquoted field, after a record with an error")
        cells.append(cell)
        if stop < 0:
            return cells, newline + 1
        at = stop + 1


def _unquoted(data: bytes, at: int, newline: int) -> bytes:
    return data[at : newline - 1] if newline > at and data[newline - 1] == ord("\r") else data[at:newline]


def _closing_quote(data: bytes, at: int, at_end: bool) -> int:
    """Where the quoted field whose text starts at `at` is closed."""
    start = at
    while (at := data.find(b'"', at)) >= 0 and data.startswith(b'"', at + 1):
        at += 2
    # Two bytes after the quote tell whether it closes the field: a quote, a delimiter, or a line end of one or two bytes.
    closed = at >= 0 and (at_end or at + 2 < len(data))
    if data.count(b"\n", start, at if closed else len(data)) > MAX_FIELD_LINES:
        raise MalformedRecord(f"a quoted field over more than {MAX_FIELD_LINES:,} lines: its quote is probably not closed")
    if closed:
        return at
    if at_end:
        raise MalformedRecord("a quote that is not closed before the end of the file")
    raise IncompleteRecord
