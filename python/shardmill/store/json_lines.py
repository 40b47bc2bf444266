"""JSON Lines for readers that guess types: no file is empty, and nested or missing values have a schema beside them.

    pl.read_ndjson("negfull.jsonl", schema=pl.read_parquet_schema("negfull.schema.parquet"))

Polars takes the types from the first hundred lines: a column that is null or empty in these is an error, or null in all others.
The schema is a Parquet file without rows; its nested columns are text, in which the reader puts the JSON as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.store.cells import Kind, Kinds
from shardmill.store.frames import DTYPES, LIST
from shardmill.util.atomic import replacing

SUFFIX = ".schema.parquet"


def settle_json_lines(files: Mapping[Path, int | None], kinds: Mapping[Path, Kinds]) -> dict[Path, int | None]:
    """Remove the JSON Lines files that have no line, and write the schema of the others.

    Args:
        files: The files that were written, with their number of rows.
        kinds: The columns of those that need a schema.

    Returns:
        The files that there are now.
    """
    found: dict[Path, int | None] = {}
    for path, rows in files.items():
        schema = schema_path(path)
        if path.suffix == ".jsonl" and rows == 0:
            path.unlink(missing_ok=True)
            schema.unlink(missing_ok=True)
            continue
        found[path] = rows
        if path in kinds:
            write_schema(schema, kinds[path])
            found[schema] = None
    return found


def schema_path(path: Path) -> Path:
    """The path of the schema of a file.

    >>> schema_path(Path("data/negfull.jsonl")).as_posix()
    'data/negfull.schema.parquet'
    """
    return path.with_name(path.stem + SUFFIX)


def write_schema(path: Path, kinds: Kinds) -> None:
    """Write the types of columns as a Parquet file without rows."""
    schema = {name: LIST if kind == "list" else DTYPES[kind] for name, kind in kinds.items()}
    with replacing(path) as file:
        pl.DataFrame(schema=schema).write_parquet(file)


class SeenKinds:
    """The columns of records whose fields differ, gathered as they are written."""

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self._empty: set[str] = set()

    def see(self, record: Mapping[str, Any]) -> None:
        """Take the fields of a record. A field that is null in all records is text."""
        for name, value in record.items():
            if value is None or value == []:
                self._empty.add(name)
                continue
            kind = kind_of(value)
            before = self.kinds.setdefault(name, kind)
            if before != kind:
                self.kinds[name] = "float" if {before, kind} == {"int", "float"} else "json"

    def all(self) -> dict[str, Kind]:
        """All columns."""
        return {**dict.fromkeys(sorted(self._empty - self.kinds.keys()), "text"), **self.kinds}


def kind_of(value: Any) -> Kind:
    """The kind of column that a value of JSON fits into.

    >>> [kind_of(each) for each in (True, 3, 0.5, "a", ["a"], [1], {"a": 1})]
    ['bool', 'int', 'float', 'text', 'list', 'json', 'json']
    """
    for kind, python_type in (("bool", bool), ("int", int), ("float", float), ("text", str)):
        if isinstance(value, python_type):
            return kind  # type: ignore[return-value]
    return "list" if isinstance(value, list) and all(isinstance(each, str) for each in value) else "json"
