"""Foreign tables: every record comes in or is set aside, whatever the blocks, and what was written comes back."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from fuzz.hostile import LITTLE, damaged, mostly, some_bytes, texts, values
from fuzz.target import Target, settled
from shardmill.tables import open_table
from shardmill.tables.base import LINE, ROW_ID, Table
from shardmill.tables.csv_careful import MAX_FIELD_LINES
from shardmill.tables.csv_table import CsvTable
from shardmill.tables.json_table import JsonTable
from shardmill.tables.jsonl import JsonlTable
from shardmill.tables.parquet import ParquetTable

BLOCKS = (1, 7, 64, None)
CSV_PARTS = [b"a,b\n", b"1,2\n", b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\t", b'"x\ny"', b"\xff", b"\xef\xbb\xbf"]
CSV_PARTS += [b"\xed\xa0\x80", b"\0", b"x" * 70]
JSON_PARTS = [b'{"a": 1}\n', b'{"a": "b", "c": [1]}', b"[", b"]", b"{", b"}", b",", b":", b'"a"', b'"', b"\\", b"\\ud800"]
JSON_PARTS += [b"\n", b"1", b"1e5", b"-", b"NaN"]
JSON_PARTS += [b"null", b"\xff", b"\xc3", b'"\xf0\x9f\x90\x95"', b"9" * 5_000, b"[" * 2_000, b" " * 70, b'{"row_id": 1}']
JSON_PARTS += [b'{"": 2}', b"\xef\xbb\xbf"]
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".tar", "")
ENCODINGS = (None, "utf-8", "latin-1", "utf-16", "utf-16-le", "shift_jis", "cp1252", "utf-7", "ascii", "iso2022_jp", "hz")


def contents(table: Table) -> tuple[list[str], list[tuple[Any, ...]], list[Any]]:
    """The columns, rows and bad records of a table, after a look at what must hold of every table."""
    rows: list[tuple[Any, ...]] = []
    bad: list[Any] = []
    for batch in table.batches():
        assert batch.frame.columns == [ROW_ID, LINE, *table.columns]
        rows += batch.frame.rows()
        bad += batch.bad
    ids = sorted([row[0] for row in rows] + [record.row_id for record in bad])
    assert ids == list(range(len(ids))), f"records come twice or not at all: {ids}"
    lines = [line for _, line in sorted([row[:2] for row in rows] + [(record.row_id, record.line) for record in bad])]
    assert lines == sorted(lines)
    return table.columns, rows, bad


def cells(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(row[2:]) for row in rows]


def csv_blocks(case: tuple[bytes, str, str], folder: Path) -> None:
    """The same from blocks of any size; and what Python's csv module reads, where nothing is wrong."""
    data, delimiter, quoting = case
    path = folder / "t.csv"
    path.write_bytes(data)

    def read(size: int | None) -> Any:
        return contents(CsvTable(path, "tsv" if delimiter == "\t" else "csv", delimiter, quoting, "utf-8", size))

    outcomes = [settled(lambda size=size: read(size)) for size in BLOCKS]
    assert all(each == outcomes[0] for each in outcomes[1:]), outcomes
    kind, found = outcomes[0]
    plain = b"\r" not in data.replace(b"\r\n", b"")
    if kind == "value" and not found[2] and plain and quoting == "standard":
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        expected = [row for row in csv.reader(text, delimiter=delimiter) if row][1:]
        assert cells(found[1]) == [[cell or None for cell in row] for row in expected]


def csv_round_trip(case: tuple[list[list[str]], str, str, int], folder: Path) -> None:
    """What Python's csv module writes comes back, unless a cell has so many lines that its quote counts as never closed.

    Records with a NUL are set aside.
    """
    rows, delimiter, ending, quoting = case
    if any(cell.count("\n") > MAX_FIELD_LINES for row in rows for cell in row):
        return
    if ending == "\n" and quoting == csv.QUOTE_MINIMAL:  # Python below 3.13 leaves a carriage return unquoted then
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    path = folder / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
        writer.writerow(["one", "two", "three"])
        writer.writerows(rows)
    found = contents(CsvTable(path, "csv", delimiter, "standard", "utf-8", 64))
    whole = [row for row in rows if not any("\0" in cell for cell in row)]
    assert len(found[2]) == len(rows) - len(whole)
    assert cells(found[1]) == [[cell or None for cell in row] for row in whole]


def json_blocks(case: bytes, folder: Path) -> None:
    """The same from blocks of any size, of lines and of a document."""
    path = folder / "t.json"
    path.write_bytes(case)
    for table in (JsonlTable, JsonTable):
        outcomes = [settled(lambda size=size, table=table: contents(table(path, "utf-8", size))) for size in BLOCKS]
        # An error is shown with the text around it, of which a small block has less.
        outcomes = [
            (kind, re.sub(", near .*", "", value, flags=re.DOTALL) if kind == "refused" else value) for kind, value in outcomes
        ]
        assert all(each == outcomes[0] for each in outcomes[1:]), outcomes


def json_round_trip(case: list[dict[str, Any]], folder: Path) -> None:
    """Objects come back as JSON of the same value, from lines and from a document; halves of surrogate pairs are set aside."""
    lines, document = folder / "t.jsonl", folder / "t.json"
    lines.write_text("".join(json.dumps(each) + "\n" for each in case), encoding="utf-8")
    document.write_text(json.dumps(case, indent=1, ensure_ascii=True), encoding="utf-8")
    for path in (lines, document):
        columns, rows, bad = contents(open_table(path, "utf-8"))
        assert len(rows) + len(bad) == len(case)
        for row in rows:
            given = json.loads(json.dumps(case[row[0]]))  # in which two halves that meet are one character
            for name, cell in zip(columns, row[2:], strict=True):
                value = given.get(name)
                if isinstance(value, str):
                    assert cell == (value or None)
                elif isinstance(value, (int, bool)):
                    assert json.loads(cell) == value


def parquet(case: bytes, folder: Path) -> None:
    """Damaged files are refused, or give each record once.

    (Once in ten thousand cases Polars 2.1 ends the process itself, which `open_table` tries in another one.)
    """
    path = folder / "t.parquet"
    path.write_bytes(case)
    first, second = (settled(lambda rows=rows: contents(ParquetTable(path, rows))) for rows in (1, 50_000))
    assert first[0] == second[0] == "refused" or first == second


def parquet_round_trip(case: list[tuple[str | None, list[str] | None, float | None, bytes | None]], folder: Path) -> None:
    """Texts come back as they are, lists as JSON of the same value."""
    path = folder / "t.parquet"
    schema = {"text": pl.String(), "list": pl.List(pl.String), "number": pl.Float64(), "bytes": pl.Binary()}
    pl.DataFrame(case, schema=schema, orient="row").write_parquet(path)
    _, rows, bad = contents(ParquetTable(path, 3))
    assert len(rows) + len(bad) == len(case)
    for row in rows:
        text, items = case[row[0]][:2]
        assert row[2] == (text or None)
        assert items is None or json.loads(row[3]) == items


def any_file(case: tuple[bytes, str, str | None, str], folder: Path) -> None:
    """Whatever stands in a file of whatever name: a table with each record once, or a plain word."""
    data, suffix, encoding, quoting = case
    path = folder / f"t{suffix}"
    path.write_bytes(data)
    contents(open_table(path, encoding, quoting))


def _parquet_file(rows: list[Any], compression: str) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows, schema={"caption": pl.String(), "n": pl.Int64(), "l": pl.List(pl.String)}, orient="row").write_parquet(
        file,
        compression=compression,  # type: ignore[arg-type]
    )
    return file.getvalue()


_OBJECTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "caption", "ß", "x y"]), values(halves=True), min_size=1), min_size=1, max_size=6
)
_PARQUET = st.builds(
    _parquet_file,
    st.lists(st.tuples(st.none() | LITTLE, st.none() | st.integers(-9, 9), st.none() | st.lists(LITTLE, max_size=2)), max_size=5),
    st.sampled_from(["zstd", "uncompressed", "snappy", "gzip"]),
)
_ROWS = st.lists(st.lists(texts(4), min_size=3, max_size=3), max_size=6)
_CSV = st.builds(bytes.__add__, st.sampled_from([b"a,b\n", b"a\n", b"", b"a\tb\n", b'"a","b"\r\n']), some_bytes(CSV_PARTS))
_MIXED = st.one_of(_CSV, some_bytes(JSON_PARTS), damaged(_PARQUET), st.binary(max_size=60), texts().map(str.encode))
_MIXED |= st.builds(
    lambda text, name: text.encode(name, "replace"), texts(), st.sampled_from(["utf-16", "utf-32", "utf-7", "shift_jis"])
)
_TOLD = st.builds(
    lambda text, suffix, name: (("a,b\n" + text.replace("\0", "")).encode(name, "replace"), suffix, name),
    texts(),
    st.sampled_from([".csv", ".txt", ".tsv"]),
    st.sampled_from(["utf-8", "latin-1", "utf-16", "shift_jis", "cp1252"]),
)
"""A text table and what is said of it."""

TARGETS = [
    Target("csv", st.tuples(_CSV, st.sampled_from([",", "\t", ";"]), st.sampled_from(["standard", "none", "auto"])), csv_blocks),
    Target(
        "csv-round-trip",
        st.tuples(
            _ROWS,
            st.sampled_from([",", "\t", "|"]),
            st.sampled_from(["\n", "\r\n"]),
            st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        ),
        csv_round_trip,
    ),
    Target("json", some_bytes(JSON_PARTS), json_blocks),
    Target("json-round-trip", _OBJECTS, json_round_trip),
    Target("parquet", damaged(_PARQUET), parquet),
    Target(
        "parquet-round-trip",
        st.lists(
            st.tuples(
                st.none() | texts(4),
                st.none() | st.lists(LITTLE, max_size=3),
                st.none() | st.floats(),
                st.none() | st.binary(max_size=4),
            ),
            max_size=9,
        ),
        parquet_round_trip,
    ),
    Target(
        "any-table",
        st.builds(
            lambda told, quoting: (*told, quoting),
            mostly(_TOLD, st.tuples(_MIXED, st.sampled_from(SUFFIXES), st.sampled_from(ENCODINGS))),
            st.sampled_from(["auto", "standard", "none"]),
        ),
        any_file,
    ),
]
