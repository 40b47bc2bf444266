"""The fast way through CSV: whole blocks, checked with numpy and parsed by Polars. Anything doubtful is left to csv_careful.

The parity of the quotes before a byte tells whether it is inside a quoted field, as long as every quote opens a field,
closes one or is doubled. That is checked for every quote of the block, so that nothing here is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from shardmill.tables.base import LINE, ROW_ID, Batch
from shardmill.tables.csv_careful import MAX_FIELD_LINES, NEWLINE, QUOTE, RETURN, CsvPosition, Layout, Parsed

Positions = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
_BOM = b"\xef\xbb\xbf"  # Polars drops it at the start of what it reads; here it would be text


@dataclass(frozen=True)
class _Marks:
    """Positions of quotes, of newlines, and of delimiters outside quotes; `ends` flags the newlines that end a record."""

    quotes: Positions
    newlines: Positions
    delimiters: Positions
    ends: Flags


def parse_block(data: bytes, layout: Layout, position: CsvPosition) -> Parsed | None:
    """Parses the complete records at the start of `data`; None where the careful parser is needed."""
    text = np.frombuffer(data, np.uint8)
    marks = _find_marks(text, layout)
    if marks is None or not well_formed(text, marks.quotes, layout.delimiter):
        return None
    if b"\r" in data and _lone_returns(text, marks.quotes):
        return None
    first_lines = np.concatenate(([0], np.flatnonzero(marks.ends) + 1))
    if np.diff(first_lines).max() > MAX_FIELD_LINES:
        return None
    ends = marks.newlines[marks.ends]
    starts = np.concatenate(([0], ends[:-1] + 1))
    kept = ~_blank(text, starts)
    if not _right_cells(marks.delimiters, starts[kept], ends[kept], len(layout.columns)):
        return None
    size = int(ends[-1]) + 1
    body = data[:size] if kept.all() else b"".join(data[a : b + 1] for a, b in zip(starts[kept], ends[kept], strict=True))
    frame = _parse(body, layout, int(kept.sum()))
    if frame is None:
        return None
    row_ids = np.arange(position.row_id, position.row_id + frame.height)
    numbers = pl.DataFrame({ROW_ID: row_ids, LINE: first_lines[:-1][kept] + position.line})
    return Parsed(Batch(numbers.cast(pl.Int64).hstack(frame)), size, len(marks.newlines))


def well_formed(text: Bytes, quotes: Positions, delimiter: int) -> bool:
    """Whether each quote opens a field, closes one, or is half of a doubled quote inside one.

    `text` starts at the start of a record. A last field that is still open, or that ends with the text, is well-formed.
    """
    opening, closing = quotes[0::2], quotes[1::2]
    doubled = closing[: len(opening) - 1] + 1 == opening[1:]
    before, after = text[opening - 1], text[np.minimum(closing + 1, len(text) - 1)]
    second = text[np.minimum(closing + 2, len(text) - 1)]
    opens = (opening == 0) | (before == delimiter) | (before == NEWLINE)
    closes = (after == delimiter) | (after == NEWLINE) | ((after == RETURN) & (second == NEWLINE)) | (closing == len(text) - 1)
    opens[1:] |= doubled
    closes[: len(doubled)] |= doubled
    return bool(opens.all() and closes.all())


def _find_marks(text: Bytes, layout: Layout) -> _Marks | None:
    """None where no record ends in the text."""
    special = text == NEWLINE
    special |= text == layout.delimiter
    if layout.quoted:
        special |= text == QUOTE
    at = np.flatnonzero(special)
    kinds = text[at]
    is_quote = kinds == QUOTE if layout.quoted else np.zeros(len(at), bool)
    outside = np.cumsum(is_quote) % 2 == 0
    is_newline = kinds == NEWLINE
    record_ends = np.flatnonzero(is_newline & outside)
    if not len(record_ends):
        return None
    used = slice(0, record_ends[-1] + 1)
    at, is_quote, is_newline, outside = at[used], is_quote[used], is_newline[used], outside[used]
    return _Marks(at[is_quote], at[is_newline], at[~is_quote & ~is_newline & outside], outside[is_newline])


def _lone_returns(text: Bytes, quotes: Positions) -> bool:
    """Whether a carriage return outside quotes does not end a line: Polars drops such a one before a delimiter."""
    returns = np.flatnonzero(text == RETURN)
    lone = returns[text[np.minimum(returns + 1, len(text) - 1)] != NEWLINE]
    return bool((np.searchsorted(quotes, lone) % 2 == 0).any())


def _blank(text: Bytes, starts: Positions) -> Flags:
    first = text[starts]
    second = text[np.minimum(starts + 1, len(text) - 1)]
    return (first == NEWLINE) | ((first == RETURN) & (second == NEWLINE))


def _right_cells(delimiters: Positions, starts: Positions, ends: Positions, columns: int) -> bool:
    if len(delimiters) != len(starts) * (columns - 1):
        return False
    if columns == 1 or not len(starts):
        return True
    table = delimiters.reshape(len(starts), columns - 1)
    return bool((table[:, 0] >= starts).all() and (table[:, -1] < ends).all())


def _parse(body: bytes, layout: Layout, records: int) -> pl.DataFrame | None:
    schema = {name: pl.String() for name in layout.columns}
    if not records:
        return pl.DataFrame(schema=schema)
    if body.startswith(_BOM):
        return None
    quote = '"' if layout.quoted else None
    try:
        frame = pl.read_csv(
            body, has_header=False, infer_schema=False, separator=chr(layout.delimiter), quote_char=quote, schema=schema
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.height != records:
        return None
    return frame.select(pl.when(pl.all() != "").then(pl.all()))
