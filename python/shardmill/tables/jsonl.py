"""JSON lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from shardmill.tables.base import MALFORMED_JSON, MAX_RECORD, NOT_AN_OBJECT, UNDECODABLE, BadRecord, raw_text
from shardmill.tables.json_cells import SURROGATE, JsonRecord, RecordTable, cell_texts, constant, is_unicode
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError

BLOCK_SIZE = 4 * 2**20
_DECODER = json.JSONDecoder(parse_constant=constant)


class JsonlTable(RecordTable):
    """Columns are the keys of the first 1,000 records; keys seen only later are left out and named in `ignored_keys`."""

    format = "jsonl"

    usual_block = BLOCK_SIZE

    def _records(self, path: Path, encoding: str | None) -> Iterator[JsonRecord | BadRecord]:
        for row_id, (number, line) in enumerate(json_lines(path, encoding, self._block_size)):
            yield _record(row_id, number, line)


def json_lines(path: Path, encoding: str | None = None, block_size: int = BLOCK_SIZE) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    return ((number, line) for number, line in _lines(path, encoding, block_size) if line and not line.isspace())


def _lines(path: Path, encoding: str | None, block_size: int) -> Iterator[tuple[int, bytes]]:
    number, size = 1, block_size
    with TextSource(path, encoding) as source:
        while data := source.peek(size)[0]:
            end = data.rfind(b"\n") + 1
            if end:
                size = block_size
            elif size >= MAX_RECORD:
                raise UserError(f"{path}: line {number} is longer than {MAX_RECORD // 2**20} MB. Are these JSON lines?")
            else:
                size = min(2 * size, MAX_RECORD)
            source.skip(end)
            for line in data[:end].split(b"\n")[:-1]:
                yield number, line
                number += 1


def _record(row_id: int, number: int, line: bytes) -> JsonRecord | BadRecord:
    def bad(reason: str, detail: str) -> BadRecord:
        return BadRecord(row_id, number, reason, detail, raw_text(line))

    try:
        values = _DECODER.decode(line.decode())
        texts = cell_texts(values) if isinstance(values, dict) else None
    except UnicodeDecodeError as error:
        return bad(UNDECODABLE, f"byte 0x{line[error.start]:02x} is not UTF-8")
    except json.JSONDecodeError as error:
        return bad(MALFORMED_JSON, f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        return bad(MALFORMED_JSON, str(error))
    if texts is None:
        return bad(NOT_AN_OBJECT, f"a JSON {type(values).__name__}")
    if b"\\u" in line and not is_unicode(texts):
        return bad(MALFORMED_JSON, SURROGATE)
    return JsonRecord(row_id, number, texts, len(line))
