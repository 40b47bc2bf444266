"""Whole tables between memory and disk, in CSV, JSONL or Parquet.

In memory a table is a Polars frame whose list and json columns are JSON text (see `cells`). In JSONL they are real JSON and in
Parquet a `list` column is a real list of text, because the readers of those formats expect it.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, Literal, get_args

import polars as pl

from shardmill.store.cells import Kind, Kinds, dump_cell, encode

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)
LIST = pl.List(pl.String)
DTYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "list": pl.String(),
    "json": pl.String(),
}
ROWS_HELD = 2_000
"""So many rows are Python values, or text to be written, at a time."""


def typed(frame: pl.LazyFrame, kinds: Kinds) -> pl.LazyFrame:
    """A frame of text columns (as CSV gives it) with every column in the type of its kind."""
    casts = []
    for name, kind in kinds.items():
        if kind == "bool":
            casts.append(pl.col(name).replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean))
        elif kind in ("int", "float"):
            casts.append(pl.col(name).cast(DTYPES[kind]))
    return frame.with_columns(casts)


def scan_frame(path: Path, kinds: Kinds, format: str) -> pl.LazyFrame:
    """A lazy in-memory table over a file written by `write_frame`, with the columns of `kinds` in their order."""
    if format == "csv":
        frame = typed(pl.scan_csv(path, infer_schema=False, glob=False, with_column_names=_unquoted), kinds)
    elif format == "parquet":
        lists = [as_json_text(name) for name, kind in kinds.items() if kind == "list"]
        frame = pl.scan_parquet(path, glob=False).with_columns(lists)
    else:
        frame = read_jsonl(path, kinds).lazy()
    return frame.select(list(kinds))


def _unquoted(header: list[str]) -> list[str]:
    """Polars (2.1) leaves the quotes within a quoted name doubled."""
    return [name.replace('""', '"') for name in header]


def read_frame(path: Path, kinds: Kinds, format: str) -> pl.DataFrame:
    """The whole table of one part."""
    return scan_frame(path, kinds, format).collect()


def as_json_text(name: str) -> pl.Expr:
    """A column of any type as JSON text; null stays null."""
    text = pl.struct(pl.col(name).alias("v")).struct.json_encode()
    return pl.when(pl.col(name).is_not_null()).then(text.str.slice(5, text.str.len_chars() - 6)).alias(name)


def read_jsonl(path: Path, kinds: Kinds) -> pl.DataFrame:
    """A JSONL part; its list and json values become JSON text again."""
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    with open(path, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            for name, values in columns.items():
                values.append(encode(record.get(name), kinds[name]))
    return pl.DataFrame(columns, schema={name: DTYPES[kind] for name, kind in kinds.items()})


def json_lines(kinds: Kinds) -> pl.Expr:
    """One JSON object per row, as text, keys in the order of `kinds`; list and json cells are embedded unchanged."""
    pieces: list[pl.Expr] = []
    for name, kind in kinds.items():
        if kind in ("list", "json"):
            pieces.append(pl.format("{}:{}", pl.lit(dump_cell(name)), pl.col(name).fill_null("null")))
        else:
            text = pl.struct(pl.col(name)).struct.json_encode()
            pieces.append(text.str.slice(1, text.str.len_chars() - 2))
    return pl.concat_str([pl.lit("{"), pl.concat_str(pieces, separator=","), pl.lit("}")]).alias("line")


def real_lists(kinds: Kinds) -> list[pl.Expr]:
    """Expressions that turn list cells (JSON text) into real lists of text."""
    return [pl.col(name).str.json_decode(LIST) for name, kind in kinds.items() if kind == "list"]


def write_frame(frame: pl.DataFrame, kinds: Kinds, target: Path | IO[bytes], format: str, header: bool = True) -> None:
    """Write the columns of `kinds`, in their order. `header` only matters for CSV."""
    frame = frame.select(list(kinds))
    if format == "parquet":
        frame.with_columns(real_lists(kinds)).write_parquet(target)
        return
    with open(target, "wb") if isinstance(target, Path) else nullcontext(target) as file:
        for start in range(0, max(frame.height, 1), ROWS_HELD):  # Polars keeps in memory all that it writes at once
            rows = frame.slice(start, ROWS_HELD)
            if format == "csv":
                rows.write_csv(file, include_header=header and start == 0)
            else:
                rows.select(json_lines(kinds)).write_csv(file, include_header=False, quote_style="never")


def frame_of(rows: list[dict[str, Any]], kinds: Kinds) -> pl.DataFrame:
    """An in-memory table from rows of Python values. Raises TypeError naming the column of a value that is not of its kind."""
    columns: dict[str, list[Any]] = {}
    for name, kind in kinds.items():
        columns[name] = [_encoded(name, row.get(name), kind) for row in rows]
    return pl.DataFrame(columns, schema={name: DTYPES[kind] for name, kind in kinds.items()})


class GrowingFrame:
    """A frame that is made of rows of Python values, of which few are kept at a time: they take several times as much memory.

    Raises TypeError as `frame_of` does.
    """

    def __init__(self, kinds: Kinds):
        self._kinds = kinds
        self._rows: list[dict[str, Any]] = []
        self._frames: list[pl.DataFrame] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_HELD:
            self._cut()

    def to_frame(self) -> pl.DataFrame:
        self._cut()
        return pl.concat(self._frames, rechunk=True)

    def _cut(self) -> None:
        self._frames.append(frame_of(self._rows, self._kinds))
        self._rows = []


def _encoded(name: str, value: Any, kind: Kind) -> Any:
    try:
        return encode(value, kind)
    except TypeError as error:
        raise TypeError(f"column {name}: {error}") from error
