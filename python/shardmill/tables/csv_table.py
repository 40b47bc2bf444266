"""A CSV or TSV file as a table: fast block by block, careful where a block needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from shardmill.tables.base import MAX_RECORD, Batch, Table
from shardmill.tables.csv_blocks import parse_block, well_formed
from shardmill.tables.csv_careful import QUOTE, CarefulParser, CsvPosition, Layout, Parsed
from shardmill.tables.csv_header import SAMPLE, read_header
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError

BLOCK_SIZE = 8 * 2**20  # larger ones are slower: each is then fresh memory from the system
SMALLEST_SHARE = 8  # a block with an error in it is cut down to this fraction, so that little of it goes the slow way


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
        *,
        has_header: bool | None = True,
        names: Sequence[str] = (),
    ) -> None:
        self.format = kind
        self.delimiter = delimiter
        self._block_size = block_size or BLOCK_SIZE
        quoted = quoting == "standard"
        if quoting == "auto":
            quoted = delimiter in ",;" or _quotes_have_meaning(path, encoding, delimiter)
        layout = Layout((), ord(delimiter), quoted)
        with TextSource(path, encoding) as source:
            self._header = read_header(path, source, layout, has_header, names)
        super().__init__(path, self._header.columns, encoding)
        self._layout = Layout(tuple(self.columns), ord(delimiter), quoted, self._header.trimmed)
        if self._header.guessed:
            taken = f"it has no header line: its columns are taken as {', '.join(self.columns)}"
            self.remarks.append(f"{taken}; otherwise pass --columns or --header")

    def _batches(self) -> Iterator[Batch]:
        careful = CarefulParser(self._layout)
        position = CsvPosition(0, self._header.first_line)
        with TextSource(self.path, self.encoding) as source:
            _skip(source, self._header.size)
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
                yield _trimmed(parsed.batch) if self._layout.trimmed else parsed.batch

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


def _trimmed(batch: Batch) -> Batch:
    """The batch without blanks around its cells, which a file has that writes them behind each delimiter."""
    text = pl.col(pl.String).str.strip_chars(" ")
    return Batch(batch.frame.with_columns(pl.when(text != "").then(text)), batch.bad)


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
