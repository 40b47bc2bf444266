"""The start of a CSV file: its delimiter, and the names of its columns, guessed where it has no header line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardmill.tables.base import LINE, ROW_ID, not_utf8
from shardmill.tables.columns import CAPTION_NAMES, IMAGE_NAMES
from shardmill.tables.csv_careful import CarefulParser, CsvPosition, IncompleteRecord, Layout, MalformedRecord, split_record
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError, name_list
from shardmill.util.image_formats import is_image_name

SAMPLE = 2**20
SEPARATOR_LINE = re.compile(rb"[\r\n]*sep=([^\r\n])\r?\n", re.IGNORECASE)
"""With this first line Excel says which delimiter a file has."""
URL = re.compile(r"https?://\S+", re.IGNORECASE)
MIN_CAPTION_WORDS = 6
"""A cell of so many words is a caption and no name of a column."""
RECORDS_SEEN = 200


@dataclass(frozen=True)
class Header:
    """Names of columns, the size in bytes and first line of what follows, and whether blanks around cells mean nothing.

    `guessed`: that there is no header line, and the names with it.
    """

    columns: list[str]
    size: int
    first_line: int
    trimmed: bool
    guessed: bool = False


def read_header(
    path: Path, source: TextSource, layout: Layout, has_header: bool | None = None, names: Sequence[str] = ()
) -> Header:
    """The header of a file, whose layout has the delimiter and no columns yet.

    Args:
        path: For messages.
        source: The text from its start.
        layout: The delimiter, and whether quotes have a meaning.
        has_header: None to guess from the first line.
        names: Names for the columns, instead of those in the file.
    """
    data, at_end = source.peek(SAMPLE)
    start = found.end() if (found := SEPARATOR_LINE.match(data)) else 0
    while data.startswith((b"\n", b"\r\n"), start):
        start = data.index(b"\n", start) + 1
    if start == len(data):
        raise UserError(f"{path} is empty. A table needs a header line with the names of its columns.")
    cells, end = _first_record(path, data, start, layout, at_end)
    trimmed = len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:])
    cells = [cell.strip() for cell in cells]
    guessed = has_header is None and _is_data(cells)
    if has_header is False or guessed:
        end = start
        columns = list(names) or _names_by_content(data, start, at_end, layout, len(cells))
    else:
        columns = list(names) or [_usable(cell, position) for position, cell in enumerate(cells, 1)]
    if len(columns) != len(cells):
        raise UserError(
            f"{path}: its first line has {len(cells)} cells, but --columns names {len(columns)}: {name_list(columns)}"
        )
    return Header(columns, end, 1 + data.count(b"\n", 0, end), trimmed, guessed)


def _first_record(path: Path, data: bytes, start: int, layout: Layout, at_end: bool) -> tuple[list[str], int]:
    try:
        cells, end = split_record(data, start, layout, at_end)
        return [cell.decode() for cell in cells], end
    except MalformedRecord as error:
        raise UserError(f"{path}: the header line cannot be read: {error}. Fix it, or pass --quoting none.") from None
    except IncompleteRecord:
        raise UserError(f"{path}: no header ends in its first {SAMPLE // 2**20} MB. Is it a table?") from None
    except UnicodeDecodeError:
        raise not_utf8(path, 1 + data.count(b"\n", 0, start)) from None


def _is_data(cells: Sequence[str]) -> bool:
    """Whether a first line is a record: no cell is a usual name of a column, and one is a URL, an image's name, or many words."""
    if {cell.casefold() for cell in cells}.intersection((*CAPTION_NAMES, *IMAGE_NAMES)):
        return False
    return any(URL.fullmatch(cell) or is_image_name(cell) or len(cell.split()) >= MIN_CAPTION_WORDS for cell in cells)


def _names_by_content(data: bytes, start: int, at_end: bool, layout: Layout, width: int) -> list[str]:
    """`url`, `image` and `caption` for the columns that hold these; `column_1` and so on for the others."""
    names = [f"column_{position}" for position in range(1, width + 1)]
    placeholder = Layout(tuple(names), layout.delimiter, layout.quoted)
    end = data.rfind(b"\n") + 1
    frame = CarefulParser(placeholder).parse(data[start:end], at_end, CsvPosition(0, 1)).batch.frame.head(RECORDS_SEEN)
    words: dict[int, float] = {}
    for position, name in enumerate(list(names)):
        cells = [cell.strip() for cell in frame[name].drop_nulls()]
        if not cells:
            continue
        if _most(bool(URL.fullmatch(cell)) for cell in cells):
            names[position] = "url"
        elif _most(is_image_name(cell) for cell in cells):
            names[position] = "image"
        else:
            words[position] = sum(len(cell.split()) for cell in cells) / len(cells)
    if words:
        names[max(words, key=lambda position: words[position])] = "caption"
    return [name if names.index(name) == at else f"column_{at + 1}" for at, name in enumerate(names)]


def _most(flags: Iterable[bool]) -> bool:
    found = list(flags)
    return 2 * sum(found) > len(found)


def _usable(name: str, position: int) -> str:
    """A header cell as a column name. pandas leaves its index column without one; ours come back as `input_row_id`."""
    if not name:
        return f"column_{position}"
    return f"input_{name}" if name in (ROW_ID, LINE) else name
