"""A JSON document as a table: a list of objects, {id: caption}, {id: [captions]}, {id: {...}}, or an object of columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from shardmill.tables.base import MALFORMED_JSON, NOT_AN_OBJECT, RAW_LIMIT, UNDECODABLE, BadRecord, raw_text
from shardmill.tables.json_cells import JsonRecord, RecordTable, cell_texts, is_unicode
from shardmill.tables.json_stream import BLOCK_SIZE, JsonEntry, json_entries
from shardmill.util.errors import UserError, name_list
from shardmill.util.image_formats import is_image_name

ENTRIES_SEEN = 30
ID = "id"
CAPTION = "caption"
UNREADABLE = "half of a surrogate pair, or an integer of more than 4,300 digits"
_UNDECODED = re.compile("[\udc80-\udcff]")


class JsonTable(RecordTable):
    """Columns are the keys of the first 1,000 records, after `id` where the document is an object.

    An element that is not an object or not UTF-8 is set aside. An error in the document itself ends the reading with UserError:
    where the next record starts cannot be known.
    """

    format = "json"

    usual_block = BLOCK_SIZE

    def _records(self, path: Path, encoding: str | None) -> Iterator[JsonRecord | BadRecord]:
        first = list(islice(json_entries(path, None, encoding, self._block_size), ENTRIES_SEEN))
        apart = json_entries(path, None, encoding, self._block_size)
        if first and _is_column(first[0]):
            return _of_columns(path, apart)
        if (
            first
            and _is_word(first[0].key)
            and any(entry.position is not None and isinstance(entry.value, dict) for entry in first)
        ):
            return _of_list_under_key(path, apart)
        return _of_members(json_entries(path, (), encoding, self._block_size))


def _of_members(entries: Iterator[JsonEntry]) -> Iterator[JsonRecord | BadRecord]:
    """Of a list of objects, {id: caption}, {id: [captions]} or {id: {...}}."""
    of_objects = False
    for row_id, entry in enumerate(entries):
        if entry.position is not None:
            yield _record(row_id, entry, entry.value)
            continue
        of_objects = isinstance(entry.value, dict) if row_id == 0 else of_objects
        value = entry.value if of_objects else {CAPTION: entry.value}
        yield _record(row_id, entry, {ID: entry.key} | value | {ID: entry.key} if isinstance(value, dict) else value)


def _is_word(key: str) -> bool:
    return bool(key) and not re.search(r"\d", key) and not is_image_name(key)


def _is_column(entry: JsonEntry) -> bool:
    """Whether the first member of an object is a column, and not the captions or the fields of one image.

    Columns are lists, or as pandas writes them {"0": …, "1": …}. Their names are words; those of images are files or numbers.
    """
    if not _is_word(entry.key):
        return False
    if entry.position is not None:
        return not isinstance(entry.value, dict)
    return isinstance(entry.value, dict) and [*entry.value] == [str(number) for number in range(len(entry.value))] != []


def _of_columns(path: Path, entries: Iterator[JsonEntry]) -> Iterator[JsonRecord | BadRecord]:
    """Of {name: [values]} or {name: {number: value}}. All values are kept in memory: the first column ends before the second."""
    columns: dict[str, list[Any]] = {}
    for entry in entries:
        if entry.position is not None:
            columns.setdefault(entry.key, []).append(entry.value)
        elif isinstance(entry.value, dict):
            columns[entry.key] = [*entry.value.values()]
        else:
            raise UserError(
                f"{path}: {entry.key!r} (line {entry.line}) is not a column like the others. Save the table as a list."
            )
    if columns.keys() == {"columns", "index", "data"}:  # `to_json(orient="split")`
        names = columns["columns"]
        columns = {str(name): [row[at] for row in columns["data"]] for at, name in enumerate(names)}
    if len({len(values) for values in columns.values()}) > 1:
        lengths = name_list([f"{name} {len(values):,}" for name, values in columns.items()])
        raise UserError(f"{path}: its lists have different lengths ({lengths}), so they are not the columns of a table.")
    for row_id, values in enumerate(zip(*columns.values(), strict=True)):
        record = dict(zip(columns, values, strict=True))
        yield _record(row_id, JsonEntry("", row_id, 1, record), record)


def _of_list_under_key(path: Path, entries: Iterator[JsonEntry]) -> Iterator[JsonRecord | BadRecord]:
    """Of the one list of objects that an object has beside other things: {"info": {…}, "data": [{…}, …]}."""
    key = ""
    for entry in entries:
        if entry.position is None:
            continue
        key = key or entry.key
        if entry.key != key:
            raise UserError(
                f"{path}: records are in several lists, {key!r} and {entry.key!r} (line {entry.line}). "
                "Save the one with the captions as a file of its own."
            )
        yield _record(entry.position, entry, entry.value)


def _record(row_id: int, entry: JsonEntry, value: Any) -> JsonRecord | BadRecord:
    if not isinstance(value, dict):
        return BadRecord(row_id, entry.line, NOT_AN_OBJECT, f"a JSON {type(value).__name__}", _raw(entry))
    texts = cell_texts(value)
    if not is_unicode(texts):
        if _UNDECODED.search("".join(name + (text or "") for name, text in texts.items())):
            return BadRecord(row_id, entry.line, UNDECODABLE, "it has bytes that are not UTF-8", _raw(entry))
        return BadRecord(row_id, entry.line, MALFORMED_JSON, UNREADABLE, _raw(entry))
    return JsonRecord(row_id, entry.line, texts, sum(map(len, filter(None, texts.values()))))


def _raw(entry: JsonEntry) -> str:
    """The start of an entry as JSON, bytes that are not UTF-8 as they are in the file."""
    value = json.dumps(entry.value, ensure_ascii=False)[:RAW_LIMIT]
    text = value if entry.position is not None else f"{json.dumps(entry.key, ensure_ascii=False)}: {value}"
    return raw_text(text.replace("\ud800", "\\ud800").encode("utf-8", "surrogateescape"))
