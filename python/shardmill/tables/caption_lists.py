"""Several captions of an image in one cell: a record of each. A list never becomes a caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from shardmill.store.cells import parse_json_cell
from shardmill.tables.base import LINE, ROW_ID, BadRecord, Batch, Table, raw_text
from shardmill.util.errors import UserError

NUMBER = "caption_number"
NOT_A_CAPTION = "not a caption"
TEXTS = pl.List(pl.String)
MIN_LIST_SHARE = 0.05
"""A column has lists of captions if at least this share of its first cells are lists; one among many texts is an accident."""


def one_caption_per_record(table: Table, caption: str | None) -> Table:
    """The table with a record for each caption, where cells of the column `caption` are lists of texts; else the table itself."""
    if caption is None or table.format == "pictures":
        return table
    first = next(iter(table.batches()), None)
    cells = first.frame[caption] if first else pl.Series(dtype=pl.String)
    read = [_captions(cell) for cell in cells.filter(_is_structure(cells))]
    wrong = [found for found in read if isinstance(found, str)]
    if wrong and 2 * len(wrong) > len(cells):
        raise UserError(f"{table.path}: the column {caption!r} holds {wrong[0]} and no captions; name another")
    lists = sum(isinstance(found, list) for found in read)
    return CaptionLists(table, caption, numbered=lists > 0 and lists >= MIN_LIST_SHARE * len(cells.drop_nulls()))


class CaptionLists(Table):
    """The records of a table, with a record of its own for each caption of a list, in the order of the list.

    `row_id` counts captions then, and the column `caption_number` says which of its record one is, from 0. Where the first
    records have hardly any lists (`numbered` is false), a record with one is bad.
    """

    def __init__(self, table: Table, caption: str, *, numbered: bool) -> None:
        self._table, self._caption = table, caption
        self._numbered = numbered and NUMBER not in table.columns
        self._lists = numbered
        self.format = table.format
        super().__init__(table.path, [*table.columns, *([NUMBER] if self._numbered else [])], "utf-8")
        if numbered:
            self.remarks.append(f"the column {caption!r} has lists: each caption is a row, and {NUMBER} says which of its list")

    def digest(self) -> tuple[str, int]:
        found = self._table.digest()
        self.file_digests = self._table.file_digests
        return found

    def notes(self) -> list[str]:
        return [*self.remarks, *self._table.notes()]

    def _batches(self) -> Iterator[Batch]:
        rows = 0
        for batch in self._table.batches():
            plain = not self._lists and not _is_structure(batch.frame[self._caption]).any()
            made = batch if plain else self._split(batch, rows)
            rows += made.frame.height + len(made.bad)
            yield made

    def _split(self, batch: Batch, start: int) -> Batch:
        """The records of a batch, the first of which gets the number `start`."""
        frame, bad = batch.frame, list(batch.bad)
        captions, wrong = self._read(frame[self._caption])
        new = _new_numbers(frame[ROW_ID].to_list(), [len(each) for each in captions], [each.row_id for each in bad], start)
        bad = [replace(each, row_id=new[each.row_id]) for each in bad]
        for at, detail in wrong.items():
            row_id, line, cell = frame.select(ROW_ID, LINE, self._caption).row(at)
            bad.append(BadRecord(new[row_id], line, NOT_A_CAPTION, detail, raw_text(cell.encode("utf-8", "replace"))))
        position = pl.int_range(pl.len()).over(ROW_ID)
        numbered = [position.cast(pl.String).alias(NUMBER)] if self._numbered else []
        text = pl.col(self._caption)
        lists = pl.Series(self._caption, captions, TEXTS)
        kept = pl.Series([at not in wrong for at in range(frame.height)], dtype=pl.Boolean)
        frame = frame.with_columns(pl.col(ROW_ID).replace_strict(new, return_dtype=pl.Int64), lists)
        frame = frame.filter(kept).explode(self._caption)
        frame = frame.with_columns(pl.col(ROW_ID) + position, pl.when(text != "").then(text).alias(self._caption), *numbered)
        return Batch(frame.select(ROW_ID, LINE, *self.columns), sorted(bad, key=lambda record: record.row_id))

    def _read(self, cells: pl.Series) -> tuple[list[list[str | None]], dict[int, str]]:
        """The captions in each cell, and what is wrong with those that are none, by position."""
        captions: list[list[str | None]] = [[cell] for cell in cells]
        wrong: dict[int, str] = {}
        for at in _is_structure(cells).arg_true():
            found = _captions(cells[at])
            if isinstance(found, str):
                wrong[at] = found
            elif found is not None and not self._lists:
                wrong[at] = "a list, where the first records have texts"
            elif found is not None:
                captions[at] = list[str | None](found) or [None]
        return captions, wrong


def _new_numbers(good: Sequence[int], sizes: Sequence[int], bad: Sequence[int], start: int) -> dict[int, int]:
    """The new number of each record's first caption, by its old one; a bad record counts as one."""
    new = {}
    for old, size in sorted([*zip(good, sizes, strict=True), *((each, 1) for each in bad)]):
        new[old] = start
        start += size
    return new


def _is_structure(cells: pl.Series) -> pl.Series:
    start = cells.str.strip_chars_start().str.head(1)
    return start.is_in(["[", "{"]).fill_null(False)


def _captions(cell: str) -> list[str] | str | None:
    """The captions in a cell that begins with a bracket; None for a text that merely does; in words, what else it is."""
    try:
        value = parse_json_cell(cell)
    except ValueError as error:
        return "a list without commas" if "without a comma" in str(error) else None
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return list(value)
    return "lists of other things than texts" if isinstance(value, (list, tuple)) else "objects"
