"""Which format a file has, and an error that says why where it is not a table."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

from shardmill.tables.source import TextSource, codec_name
from shardmill.util.errors import UserError

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
_PARQUET = b"PAR1"
_COMPRESSED = re.compile(
    rb"(?P<gzip>\x1f\x8b)|(?P<zip>PK\x03\x04)|(?P<bzip2>BZh[1-9]1AY&)|(?P<xz>\xfd7zXZ)|(?P<zstd>\x28\xb5\x2f\xfd)"
)
_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def sniff_format(path: Path, encoding: str | None) -> str:
    """One of csv (also for a text table of unknown delimiter), tsv, jsonl, json, parquet; UserError for what is not a table."""
    start = _first_bytes(path)
    if packed := _COMPRESSED.match(start):
        raise UserError(f"{path} is compressed ({packed.lastgroup}). Decompress it first.")
    if start.startswith(_PARQUET):
        return "parquet"
    kind = _BY_SUFFIX.get(path.suffix.lower())
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
    """The most frequent delimiter of the header, a tab before all others; a comma where there is none."""
    header = _first_text(path, encoding).lstrip("\r\n").split("\n", 1)[0]
    if "\t" in header:
        return "\t"
    return max(",;|", key=header.count)


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


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file with the table.")
    try:
        with path.open("rb") as file:
            return file.read(8)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def _first_text(path: Path, encoding: str | None) -> str:
    with TextSource(path, encoding) as source:
        return source.peek(SAMPLE)[0].decode("utf-8", "replace")
