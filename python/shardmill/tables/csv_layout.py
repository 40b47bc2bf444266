"""How the records of one CSV file are written, and what a parser makes of a block of them."""

from __future__ import annotations

from dataclasses import dataclass

from shardmill.tables.base import Batch

QUOTE = ord('"')
NEWLINE = ord("\n")
RETURN = ord("\r")
MAX_FIELD_LINES = 1_000  # a quoted field over more lines than this is an unclosed quote


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
