"""Parquet: streamed, with every column cast to text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from shardmill.errors import UserError
from shardmill.shards.tables.base import LINE, ROW_ID, UNDECODABLE, BadRecord, Batch, Table, raw_text

SAMPLE = 1_000
_WRAPPED = "value"


class ParquetTable(Table):
    """The line of a record is its ordinal, from 1. Columns of bytes that are not text (images) are named in `ignored_keys`."""

    format = "parquet"

    def __init__(self, path: Path, batch_rows: int = 50_000) -> None:
        self._batch_rows = batch_rows
        try:
            self._schema = dict(pl.read_parquet_schema(path))
            self._binary = [name for name, kind in self._schema.items() if kind == pl.Binary]
            sample = pl.scan_parquet(path, glob=False).select(self._binary).head(SAMPLE).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(path, error) from None
        no_text = {name for name in self._binary if not _decodable(sample[name])}
        no_text |= {name for name, kind in self._schema.items() if kind != pl.Binary and _holds_bytes(kind)}
        super().__init__(path, [name for name in self._schema if name not in no_text], "utf-8")
        self._binary = [name for name in self._binary if name not in no_text]
        self.ignored_keys |= no_text

    def _batches(self) -> Iterator[Batch]:
        rows = 0
        scan = pl.scan_parquet(self.path, glob=False).select(self.columns)
        try:
            for part in scan.collect_batches(chunk_size=self._batch_rows, maintain_order=True):
                yield self._batch(part, rows)
                rows += part.height
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self.path, error) from None

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
        frame = part.select(ROW_ID, LINE, *(_text(name, self._schema[name]) for name in self.columns))
        return Batch(frame, [bad[at] for at in sorted(bad)])


def _text(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind.is_nested():
        document = pl.struct(column.alias(_WRAPPED)).struct.json_encode()
        wrapped = len(f'{{"{_WRAPPED}":')
        inner = document.str.slice(wrapped, document.str.len_chars() - wrapped - 1)
        text = pl.when(column.is_not_null()).then(inner).otherwise(None)
    elif kind.is_float():
        text = column.fill_nan(None).cast(pl.String)
    else:
        text = column.cast(pl.String)
    return pl.when(text != "").then(text).alias(name)


def _holds_bytes(kind: object) -> bool:
    if isinstance(kind, pl.Struct):
        return any(_holds_bytes(inner.dtype) for inner in kind.fields)
    if isinstance(kind, (pl.List, pl.Array)):
        return _holds_bytes(kind.inner)
    return kind == pl.Binary


def _decodable(values: pl.Series) -> bool:
    return all(_is_utf8(value) for value in values.drop_nulls())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, error: Exception) -> UserError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"{path} cannot be read as Parquet: {first}. Is it complete?")
