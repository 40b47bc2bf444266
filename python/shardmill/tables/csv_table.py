"""A CSV or TSV file as a table: fast block by block, careful where a block needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shardmill.tables.base import LINE, MAX_RECORD, ROW_ID, Batch, Table, not_utf8
from shardmill.tables.csv_blocks import parse_block, well_formed
from shardmill.tables.csv_careful import (
    CarefulParser,
    IncompleteRecord,
    MalformedRecord,
    split_record,
)
from shardmill.tables.csv_layout import QUOTE, CsvPosition, Layout, Parsed
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError

BLOCK_SIZE = 8 * 2**20  # larger ones are slower: each is then fresh memory from the system
SMALLEST_SHARE = 8  # a block with an error in it is cut down to this fraction, so that little of it goes the slow way
SAMPLE = 2**20


class CsvTable(Table):
    """Records as Python's csv module, pandas and Excel read them: header first, quoted newlines, blank lines skipped."""

    def __init__(
        self,
        path: Path,
        kind: str,
        delimiter: str,
        quoting: str = "auto",
        encoding: str | None = None,
        block_size: int | None = None,
    ) -> None:
        self.format = kind
        self.delimiter = delimiter
        self._block_size = block_size or BLOCK_SIZE
        quoted = quoting == "standard"
        if quoting == "auto":
            quoted = kind == "csv" or _quotes_have_meaning(path, encoding, delimiter)
        self._layout = Layout((), ord(delimiter), quoted)
        with TextSource(path, encoding) as source:
            columns, self._header_size, self._first_line = _read_header(path, source, self._layout)
        super().__init__(path, columns, encoding)
        self._layout = Layout(tuple(columns), ord(delimiter), quoted)

    def _batches(self) -> Iterator[Batch]:
        careful = CarefulParser(self._layout)
        position = CsvPosition(0, self._first_line)
        with TextSource(self.path, self.encoding) as source:
            _skip(source, self._header_size)
            size = self._block_size
            while source.peek(1)[0]:
                data, _ = source.peek(size)
                parsed = None if careful.resuming else parse_block(data, self._layout, position)
                if parsed:
                    size = min(self._block_size, 2 * size)
                else:
                    size = max(1, self._block_size // SMALLEST_SHARE)
                    parsed = self._parse_carefully(source, careful, position, size)
                source.skip(parsed.size)
                position = CsvPosition(position.row_id + parsed.records, position.line + parsed.lines)
                yield parsed.batch

    def _parse_carefully(self, source: TextSource, careful: CarefulParser, position: CsvPosition, size: int) -> Parsed:
        while True:
            data, at_end = source.peek(size)
            parsed = careful.parse(data, at_end, position)
            if parsed.size:
                return parsed
            if size >= MAX_RECORD:
                raise UserError(
                    f"{self.path}: the record that starts on line {position.line} is longer than {MAX_RECORD // 2**20} MB. "
                    "Probably a quote in it is not closed: close it, or pass --quoting none if quotes have no meaning in it."
                )
            size = min(2 * size, MAX_RECORD)


def _skip(source: TextSource, size: int) -> None:
    source.peek(size)
    source.skip(size)


def _read_header(path: Path, source: TextSource, layout: Layout) -> tuple[list[str], int, int]:
    """Column names, and the size in bytes and first line of what follows them."""
    data, at_end = source.peek(SAMPLE)
    start = 0
    while data.startswith((b"\n", b"\r\n"), start):
        start = data.index(b"\n", start) + 1
    if start == len(data):
        raise UserError(f"{path} is empty. A table needs a header line with the names of its columns.")
    try:
        cells, end = split_record(data, start, layout, at_end)
    except MalformedRecord as error:
        raise UserError(f"{path}: the header line cannot be read: {error}. Fix it, or pass --quoting none.") from None
    except IncompleteRecord:
        raise UserError(f"{path}: no header ends in its first {SAMPLE // 2**20} MB. Is it a table?") from None
    try:
        columns = [_usable(cell.decode(), position) for position, cell in enumerate(cells, 1)]
    except UnicodeDecodeError:
        raise not_utf8(path, 1 + data.count(b"\n", 0, start)) from None
    return columns, end, 1 + data.count(b"\n", 0, end)


def _usable(name: str, position: int) -> str:
    """A header cell as a column name. pandas leaves its index column without one; ours come back as `input_row_id`."""
    if not name.strip():
        return f"column_{position}"
    return f"input_{name}" if name in (ROW_ID, LINE) else name


def _quotes_have_meaning(path: Path, encoding: str | None, delimiter: str) -> bool:
    """Whether the quotes in a sample are well-formed, and it has no more bad records with quoting than without."""
    with TextSource(path, encoding) as source:
        data, at_end = source.peek(SAMPLE)
    data = data[: data.rfind(b"\n") + 1]
    import numpy as np

    text = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(text == QUOTE)
    if not len(quotes):
        return True
    if not well_formed(text, quotes, ord(delimiter)):
        return False
    columns = tuple(data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace").split(delimiter))
    with_quotes, without = (
        CarefulParser(Layout(columns, ord(delimiter), quoted)).parse(data, at_end, CsvPosition(0, 1)).batch
        for quoted in (True, False)
    )
    return len(with_quotes.bad) <= len(without.bad)
