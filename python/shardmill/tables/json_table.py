"""A JSON document as a table: a list of objects, {id: caption} or {id: {...}}."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shardmill.tables.base import MALFORMED_JSON, NOT_AN_OBJECT, RAW_LIMIT, UNDECODABLE, BadRecord, raw_text
from shardmill.tables.json_cells import JsonRecord, RecordTable, cell_texts, is_unicode
from shardmill.tables.json_stream import BLOCK_SIZE, JsonEntry, json_entries
from shardmill.util.errors import UserError

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
        of_objects = False
        for row_id, entry in enumerate(json_entries(path, (), encoding, self._block_size)):
            if entry.position is not None:
                yield _record(row_id, entry, entry.value)
                continue
            _check_is_record(path, entry)
            of_objects = isinstance(entry.value, dict) if row_id == 0 else of_objects
            value = entry.value if of_objects else {CAPTION: entry.value}
            yield _record(row_id, entry, {ID: entry.key} | value | {ID: entry.key} if isinstance(value, dict) else value)


def _check_is_record(path: Path, entry: JsonEntry) -> None:
    if isinstance(entry.value, list) and entry.value and isinstance(entry.value[0], dict):
        raise UserError(
            f"{path}: the records are in a list under the key {entry.key!r} (line {entry.line}). "
            "Save that list as a file of its own."
        )


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
