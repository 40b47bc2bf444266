"""What a cell of a table may hold, and how it is written as text.

Kinds: `text`, `int`, `float`, `bool`, `list` (of text), `json` (anything else). In memory and in CSV a list or json cell is
JSON text. Python-literal lists, as older files have them (`"['dog', 'ball']"`), are read too; nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

Kind = Literal["text", "int", "float", "bool", "list", "json"]
Kinds = Mapping[str, Kind]

DTYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "list": pl.String(),
    "json": pl.String(),
}
PYTHON_TYPES = {"text": str, "int": int, "bool": bool}
MAX_LITERAL = 100_000
"""Longest Python-literal cell that is parsed; deeper or longer ones are not lists that any tool wrote."""


def dump_cell(value: Any) -> str:
    """JSON text of a list or json cell: compact, unicode kept readable."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parse_json_cell(text: str) -> Any:
    """The value of a list or json cell. Raises ValueError when it is neither JSON nor a Python literal."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LITERAL:
        raise ValueError(f"a cell of {len(text):,} characters is not JSON")
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"neither JSON nor a Python literal: {text[:80]!r}") from error


def parse_list(text: str | None) -> list[str]:
    """The list of texts in a cell; an empty cell is an empty list. Raises ValueError for anything that is no list of texts."""
    if text is None or not text.strip():
        return []
    value = parse_json_cell(text)
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"not a list of texts: {text[:80]!r}")
    return value


def decode(value: Any, kind: Kind) -> Any:
    """A Python value from a value of an in-memory frame."""
    if kind == "list":
        return parse_list(value)
    if kind == "json":
        return None if value is None else parse_json_cell(value)
    return value


def encode(value: Any, kind: Kind) -> Any:
    """A value for an in-memory frame from a Python value. Raises TypeError when the value is not of its kind."""
    if value is None:
        return None
    if kind in ("list", "json"):
        if kind == "list" and not (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            raise TypeError(f"not a list of texts: {value!r}")
        return storable(dump_cell(list(value) if kind == "list" else value))
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is not PYTHON_TYPES.get(kind):
        raise TypeError(f"not of kind {kind}: {value!r}")
    return storable(value) if isinstance(value, str) else value


def check_cells(values: Mapping[str, Any], kinds: Kinds) -> None:
    """Raises TypeError for a column that is none of `kinds` or a value that is not of its kind: no table could hold it."""
    for name, value in values.items():
        if name not in kinds:
            raise TypeError(f"column {name} is none of {', '.join(kinds)}")
        encode(value, kinds[name])


def storable(text: str) -> str:
    """The text with lone surrogates (which JSON escapes in model output can hold, and UTF-8 cannot) replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
