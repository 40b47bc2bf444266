"""Foreign tables: CSV, TSV, JSON lines, JSON documents, Parquet, folders and tar files of pictures, as batches of text cells."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from shardmill.tables.base import (
    LINE,
    MALFORMED_CSV,
    MALFORMED_JSON,
    NOT_AN_OBJECT,
    NUL_BYTE,
    ROW_ID,
    UNDECODABLE,
    WRONG_CELLS,
    BadRecord,
    Batch,
    Table,
)
from shardmill.tables.csv_table import CsvTable
from shardmill.tables.images import ImageTable
from shardmill.tables.json_table import JsonTable
from shardmill.tables.jsonl import JsonlTable
from shardmill.tables.parquet import ParquetTable
from shardmill.tables.sniff import sniff_delimiter, sniff_format
from shardmill.tables.source import codec_name
from shardmill.util.errors import UserError
from shardmill.util.parquet_probe import check_survivable

__all__ = [
    "LINE",
    "MALFORMED_CSV",
    "MALFORMED_JSON",
    "NOT_AN_OBJECT",
    "NUL_BYTE",
    "QUOTINGS",
    "ROW_ID",
    "UNDECODABLE",
    "WRONG_CELLS",
    "BadRecord",
    "Batch",
    "Table",
    "open_table",
]

QUOTINGS = ("auto", "standard", "none")


def open_table(
    path: str | PathLike[str], encoding: str | None = None, quoting: str = "auto", delimiter: str | None = None
) -> Table:
    """Opens a table of any format and finds its columns.

    `encoding` None is UTF-8. `quoting` "auto" gives quotes their meaning in CSV, and in TSV where those of its first megabyte
    are well-formed. `delimiter` None goes by the extension (.csv, .tsv), else by the header line.
    Raises UserError for a file that is missing, empty, compressed or no table, and for a header without proper names.
    """
    path = Path(path)
    if quoting not in QUOTINGS:
        raise UserError(f"Unknown quoting {quoting!r}; one of {', '.join(QUOTINGS)}.")
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'):
        raise UserError(f"The delimiter {delimiter!r} is not one ASCII character other than a quote or a line end.")
    if encoding is not None:
        codec_name(encoding)
    if path.is_dir() or (path.suffix == ".tar" and path.is_file()):
        return ImageTable(path)
    kind = sniff_format(path, encoding)
    if kind == "parquet":
        check_survivable(path)
        return ParquetTable(path)
    if kind == "jsonl":
        return JsonlTable(path, encoding)
    if kind == "json":
        return JsonTable(path, encoding)
    if delimiter is None:
        by_name = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower())
        delimiter = by_name or sniff_delimiter(path, encoding)
    return CsvTable(path, "tsv" if delimiter == "\t" else "csv", delimiter, quoting, encoding)
