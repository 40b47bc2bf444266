"""Parquet: streamed, with every column cast to text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from shardmill.tables.base import LINE, ROW_ID, UNDECODABLE, BadRecord, Batch, Table, check_columns, raw_text
from shardmill.util.errors import UserError

SAMPLE = 1_000
PICTURES_SEEN = 16
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
"""What files of JPEG, PNG, GIF, BMP and TIFF begin with."""
_WRAPPED = "value"
BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What Polars raises for a file that is damaged; the panic is no Exception."""


class ParquetTable(Table):
    """The line of a record is its ordinal, from 1.

    A column of pictures (bytes, or as Hugging Face datasets keep them a struct with `bytes`) becomes text that says where each
    is: `PATH::COLUMN::ROW`. Columns of other bytes that are not text are named in `ignored_keys`.
    """

    format = "parquet"

    def __init__(self, path: Path, batch_rows: int = 50_000) -> None:
        self._batch_rows = batch_rows
        try:
            self._schema = dict(pl.read_parquet_schema(path))
            check_columns(path, list(self._schema))
            self._binary = [name for name, kind in self._schema.items() if kind == pl.Binary]
            boxed = [name for name, kind in self._schema.items() if isinstance(kind, pl.Struct) and _bytes_of(kind)]
            first = pl.scan_parquet(path, glob=False).select(self._binary + boxed).head(PICTURES_SEEN).collect()
            texts = [name for name in self._binary if _decodable(first[name])]  # a thousand pictures would be much to read
            sample = pl.scan_parquet(path, glob=False).select(texts).head(SAMPLE).collect()
            self._rows = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        except BROKEN as error:
            raise _unreadable(path, error) from None
        no_text = {name for name in self._binary if name not in texts or not _decodable(sample[name])}
        no_text |= {name for name, kind in self._schema.items() if kind != pl.Binary and _holds_bytes(kind)}
        self._pictures = [name for name in self._binary + boxed if name in no_text and _are_pictures(first[name])]
        no_text -= {*self._pictures}
        super().__init__(path, [name for name in self._schema if name not in no_text], "utf-8")
        self._binary = [name for name in self._binary if name not in {*no_text, *self._pictures}]
        self.ignored_keys |= no_text

    def _batches(self) -> Iterator[Batch]:
        rows = 0
        scan = pl.scan_parquet(self.path, glob=False, row_index_name=ROW_ID).select(
            [self._reference(name) if name in self._pictures else pl.col(name) for name in self.columns]
        )
        try:
            for part in scan.collect_batches(chunk_size=self._batch_rows, maintain_order=True):
                yield self._batch(part, rows)
                rows += part.height
        except BROKEN as error:
            raise _unreadable(self.path, error) from None
        if rows != self._rows:  # a batch that Polars cannot decode may end its stream without a word
            read = f"only {rows:,} of its {self._rows:,} records can be read"
            raise UserError(f"{self.path} is damaged: {read}. Copy or download it again.")

    def _batch(self, part: pl.DataFrame, rows: int) -> Batch:
        numbers = pl.int_range(rows, rows + part.height, dtype=pl.Int64, eager=True)
        bad: dict[int, BadRecord] = {}
        for name in self._binary:
            for at, value in enumerate(part[name]):
                if value is not None and not _is_utf8(value):
                    detail = f"column {name} is not UTF-8"
                    bad[at] = BadRecord(rows + at, rows + at + 1, UNDECODABLE, detail, raw_text(value))
        part = part.with_columns(numbers.alias(ROW_ID), (numbers + 1).alias(LINE))
        if bad:
            part = part.filter(~pl.col(ROW_ID).is_in([record.row_id for record in bad.values()]))
        kinds = {**self._schema, **dict.fromkeys(self._pictures, pl.String())}
        frame = part.select(ROW_ID, LINE, *(_text(name, kinds[name]) for name in self.columns))
        return Batch(frame, [bad[at] for at in sorted(bad)])

    def _reference(self, name: str) -> pl.Expr:
        """Where the picture of a row is, without reading it: null where there is none, and a struct's `path` if only that is."""
        column = pl.col(name)
        place = pl.format("{}::{}::{}", pl.lit(str(self.path.resolve())), pl.lit(name), pl.col(ROW_ID))
        kind = self._schema[name]
        if not isinstance(kind, pl.Struct):
            return pl.when(column.is_not_null()).then(place).alias(name)
        has_path = any(inner.name == "path" and inner.dtype == pl.String for inner in kind.fields)
        path = column.struct.field("path") if has_path else pl.lit(None, pl.String)
        return pl.when(column.struct.field("bytes").is_not_null()).then(place).otherwise(path).alias(name)


def is_download_list(path: Path) -> bool:
    """Whether a file is the list that img2dataset writes beside a tar with the images."""
    if not path.with_suffix(".tar").is_file():
        return False
    try:
        return {"key", "status"} <= pl.read_parquet_schema(path).keys()
    except BROKEN:
        return False


def _bytes_of(kind: pl.Struct) -> bool:
    return any(inner.name == "bytes" and inner.dtype == pl.Binary for inner in kind.fields)


def _are_pictures(cells: pl.Series) -> bool:
    """Whether the first cell that is not empty begins as files of pictures do."""
    values = (cell.get("bytes") if isinstance(cell, dict) else cell for cell in cells)
    first = next((value for value in values if value), b"")
    return first.startswith(PICTURES) or (first[:4] == b"RIFF" and first[8:12] == b"WEBP")


def _text(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind.is_nested():
        document = pl.struct(column.alias(_WRAPPED)).struct.json_encode()
        wrapped = len(f'{{"{_WRAPPED}":')
        inner = document.str.slice(wrapped, document.str.len_chars() - wrapped - 1)
        text = pl.when(column.is_not_null()).then(inner).otherwise(None)
    elif kind == pl.Duration:
        text = column.dt.to_string("iso")
    elif kind.is_float():
        text = column.fill_nan(None).cast(pl.String)
    else:
        text = column.cast(pl.String)
    return pl.when(text != "").then(text).alias(name)


def _holds_bytes(kind: pl.DataType) -> bool:
    return "Binary" in repr(kind)


def _decodable(values: pl.Series) -> bool:
    return all(_is_utf8(value) for value in values.drop_nulls())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, error: BaseException) -> UserError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"{path} cannot be read as Parquet: {first}. If it is complete, leave out the column whose type Polars cannot read."
    )
