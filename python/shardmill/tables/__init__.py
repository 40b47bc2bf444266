"""Foreign tables: CSV, TSV, JSON lines, JSON documents, Parquet, folders and tar files of pictures, as batches of text cells."""

from __future__ import annotations

from collections.abc import Sequence
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
from shardmill.tables.convert.known import KnownTable, recognized
from shardmill.tables.csv_table import CsvTable
from shardmill.tables.images import ImageTable, NoPictures
from shardmill.tables.json_table import JsonTable
from shardmill.tables.jsonl import JsonlTable
from shardmill.tables.parquet import ParquetTable, is_download_list
from shardmill.tables.shards import ShardedTable, files_of_folder, files_of_pattern, folder_of, is_pattern
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
    "folder_of",
    "open_table",
]

QUOTINGS = ("auto", "standard", "none")


def open_table(
    path: str | PathLike[str],
    encoding: str | None = None,
    quoting: str = "auto",
    delimiter: str | None = None,
    header: bool | None = None,
    columns: Sequence[str] = (),
) -> Table:
    """Opens a table of any format and finds its columns.

    Args:
        path: A file, which may be compressed; a tar file; a folder of images, or of the shards of a table; or a pattern (`*`,
            `?`) for several files that are one table.
        encoding: None for UTF-8.
        quoting: "auto" gives quotes their meaning in CSV, and in TSV where those of its first megabyte are well-formed.
        delimiter: Of CSV; None goes by the header line and the name.
        header: Whether CSV has a header line; None goes by its first line.
        columns: Names for the columns of CSV.

    Raises:
        UserError: For a file that is missing, empty, cut off or no table, and for a header without proper names.
    """
    path = Path(path)
    if quoting not in QUOTINGS:
        raise UserError(f"Unknown quoting {quoting!r}; one of {', '.join(QUOTINGS)}.")
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'):
        raise UserError(f"The delimiter {delimiter!r} is not one ASCII character other than a quote or a line end.")
    if encoding is not None:
        codec_name(encoding)

    def open_one(file: Path) -> Table:
        return _open_file(file, encoding, quoting, delimiter, header, columns)

    if is_pattern(path):
        return ShardedTable(path, files_of_pattern(path), open_one)
    if not path.is_dir():
        return open_one(path)
    if (path / "plan.json").exists():
        raise UserError(f"{path} is a run folder; name one of its datasets, in {path / 'datasets'}")
    try:
        return ImageTable(path)
    except NoPictures:
        if not (files := files_of_folder(path)):
            raise
    return ShardedTable(path, files, open_one)


def _open_file(
    path: Path, encoding: str | None, quoting: str, delimiter: str | None, header: bool | None, columns: Sequence[str]
) -> Table:
    if path.suffix.lower() == ".tar" and path.is_file():
        return ImageTable(path)
    kind = sniff_format(path, encoding)
    if kind not in ("csv", "tsv") and (delimiter or columns or header is not None):
        raise UserError(f"{path} is not a CSV file, so --separator, --columns and --header do not apply to it")
    if kind == "parquet":
        check_survivable(path)
        if is_download_list(path):
            table = ImageTable(path.with_suffix(".tar"))
            table.remarks.append(
                f"it lists what img2dataset downloaded: the images, and their captions, are in {table.path.name}"
            )
            return table
        return ParquetTable(path)
    if kind in ("json", "jsonl") and (known := recognized(path, kind, encoding)):
        return KnownTable(path, known)
    if kind == "jsonl":
        return JsonlTable(path, encoding)
    if kind == "json":
        return JsonTable(path, encoding)
    delimiter = delimiter or sniff_delimiter(path, encoding)
    kind = "tsv" if delimiter == "\t" else "csv"
    return CsvTable(path, kind, delimiter, quoting, encoding, has_header=header, names=columns)
