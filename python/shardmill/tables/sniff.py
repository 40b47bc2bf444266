"""Which format a file has, and an error that says why where it is not a table."""

from __future__ import annotations

import codecs
import json
from contextlib import closing
from pathlib import Path

from shardmill.tables.csv_header import SEPARATOR_LINE
from shardmill.tables.source import TextSource, codec_name
from shardmill.util.compressed import ContentReader, inner_suffix
from shardmill.util.errors import UserError

LINES_SEEN = 50
SAMPLE = 2**16
_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
TABLE_SUFFIXES = frozenset(_BY_SUFFIX)
_PARQUET = b"PAR1"
_ZIP, _TAR, _ARROW = b"PK\x03\x04", b"ustar", b"ARROW1"
_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def sniff_format(path: Path, encoding: str | None) -> str:
    """One of csv (also for a text table of unknown delimiter), tsv, jsonl, json, parquet; UserError for what is not a table."""
    start, compression = _first_bytes(path)
    if start.startswith(_ZIP):
        spreadsheet = path.suffix.lower() in (".xlsx", ".ods")
        raise UserError(f"{path} is {'a spreadsheet. Save it as CSV' if spreadsheet else 'compressed (zip). Unpack it first'}.")
    if start.startswith(_ARROW):
        raise UserError(f"{path} is an Arrow file. Save the table as Parquet.")
    if _TAR in start[257:263]:
        raise UserError(
            f"{path} is a tar file{' that is compressed: decompress it first' if compression else '. Name it *.tar'}."
        )
    if start.startswith(_PARQUET):
        if compression:
            raise UserError(f"{path} is a Parquet file that is compressed ({compression}). Decompress it first.")
        return "parquet"
    kind = _BY_SUFFIX.get(inner_suffix(path))
    if kind == "parquet":
        raise UserError(f"{path} is not a Parquet file, though its name says so.")
    if encoding is None or codec_name(encoding) in ("utf-8", "utf-8-sig"):
        for mark, name in _WIDE_MARKS.items():
            if start.startswith(mark):
                raise UserError(f"{path} is {name.upper()} text. Pass --encoding {name}.")
    text = _first_text(path, encoding)
    if 10 * sum(map(text.count, "\0\ufffd")) > len(text) and "\0" in text:
        raise UserError(f"{path} is not a text table: it has NUL bytes. If it is text, pass --encoding, for example utf-16-le.")
    if not text.strip():
        raise UserError(f"{path} is empty.")
    return kind if kind in ("csv", "tsv", "jsonl") else _sniff_text(text, kind)


def sniff_delimiter(path: Path, encoding: str | None) -> str:
    """The delimiter of the header line: what Excel's line `sep=;` or the name says if the header has it, else the most frequent.

    A tab goes before all others. Where their number differs from line to line, in a file that is neither .csv nor .tsv, each line
    is one cell, and the delimiter is a tab.
    """
    text = _first_text(path, encoding).lstrip("\r\n")
    if found := SEPARATOR_LINE.match(text.encode()):
        return found[1].decode()
    lines = text.splitlines()[:LINES_SEEN]
    by_name = {".csv": ",", ".tsv": "\t"}.get(inner_suffix(path))
    if by_name and by_name in lines[0]:
        return by_name
    if "\t" in lines[0]:
        return "\t"
    most = max(",;|", key=lines[0].count)
    if most not in lines[0]:
        return by_name or ","
    is_prose = by_name is None and '"' not in text and len({line.count(most) for line in lines if line}) > 1
    return "\t" if is_prose else most


def _sniff_text(text: str, kind: str | None) -> str:
    """JSON lines are often called .json; a document starts with a bracket, or with a brace that its first line leaves open."""
    first, _, rest = text.lstrip().partition("\n")
    if kind is None and first[0] not in "[{":
        return "csv"
    try:
        whole = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        whole = False
    if whole and (rest.strip() or kind is None):
        return "jsonl"
    return "json"


def _first_bytes(path: Path) -> tuple[bytes, str | None]:
    """The start of what a file holds, and how it is compressed."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file with the table.")
    try:
        with closing(ContentReader(path)) as file:
            return file.read(512), file.kind
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def _first_text(path: Path, encoding: str | None) -> str:
    with TextSource(path, encoding) as source:
        return source.peek(SAMPLE)[0].decode("utf-8", "replace")
