"""JSON values as text cells."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from shardmill.tables.base import UNDECODABLE, BadRecord, Batch, BatchBuilder, Table, not_utf8
from shardmill.util.errors import UserError

SCHEMA_RECORDS = 1_000
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
SURROGATE = "half of a surrogate pair"


class JsonRecord:
    """An object of a JSON file as text cells by key, with its line and about how long its text is."""

    __slots__ = ("line", "row_id", "size", "values")

    def __init__(self, row_id: int, line: int, values: dict[str, str | None], size: int) -> None:
        self.row_id = row_id
        self.line = line
        self.values = values
        self.size = size


def constant(name: str) -> str | None:
    """NaN is how pandas writes a missing number; the infinities stay text."""
    return None if name == "NaN" else name


def cell_texts(values: dict[str, Any]) -> dict[str, str | None]:
    """Text as it is, numbers and booleans as JSON writes them, lists and objects as compact JSON."""
    return {name: value if value is None or isinstance(value, str) else _ENCODER.encode(value) for name, value in values.items()}


def is_unicode(texts: dict[str, str | None]) -> bool:
    """False where a text holds half of a surrogate pair, which JSON can write as an escape but no encoding can hold."""
    try:
        "".join(name + (text or "") for name, text in texts.items()).encode()
    except UnicodeEncodeError:
        return False
    return True


def column_names(path: Path, records: Iterable[JsonRecord | BadRecord]) -> list[str]:
    """The keys of the first records, in order of appearance; UserError where there are records but no object among them."""
    first = list(islice(records, SCHEMA_RECORDS))
    names = dict.fromkeys(name for record in first if isinstance(record, JsonRecord) for name in record.values)
    if first and isinstance(first[0], BadRecord) and not names:
        bad = first[0]
        if bad.reason == UNDECODABLE:
            raise not_utf8(path, bad.line, "not one of its first records is")
        where = f"line {bad.line}: {bad.reason}, {bad.detail}"
        raise UserError(f"{path} has no JSON objects ({where}). Each record must be an object {{...}}.")
    return list(names)


def batched(records: Iterable[JsonRecord | BadRecord], columns: Sequence[str], ignored: set[str]) -> Iterator[Batch]:
    """Batches of records; keys that are not columns go to `ignored`."""
    builder = BatchBuilder(columns)
    known = frozenset(columns)
    for record in records:
        if isinstance(record, BadRecord):
            builder.add_bad(record)
        else:
            if not record.values.keys() <= known:
                ignored.update(record.values.keys() - known)
            cells = [record.values.get(name) for name in columns]
            builder.add(record.row_id, record.line, cells, record.size)
        if builder.full:
            yield builder.take()
    yield builder.take()


class RecordTable(Table):
    """A table of JSON objects, whose columns are the keys of its first records."""

    usual_block: int

    def __init__(self, path: Path, encoding: str | None = None, block_size: int | None = None) -> None:
        self._block_size = block_size or self.usual_block
        super().__init__(path, column_names(path, self._records(path, encoding)), encoding)

    @abstractmethod
    def _records(self, path: Path, encoding: str | None) -> Iterator[JsonRecord | BadRecord]: ...

    def _batches(self) -> Iterator[Batch]:
        return batched(self._records(self.path, self.encoding), self.columns, self.ignored_keys)
