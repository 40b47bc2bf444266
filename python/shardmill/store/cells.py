"""What a cell of a table can hold, and how it is written as text.

Kinds: `text`, `int`, `float`, `bool`, `list` (of text), `json` (anything else). In memory and in CSV a list or json cell is
JSON text. Python-literal lists, as older files have them (`"['dog', 'ball']"`), are read too; nothing is ever evaluated.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from sys import float_info
from typing import Any, Literal

from shardmill.util.literals import read_literal

Kind = Literal["text", "int", "float", "bool", "list", "json"]
Kinds = Mapping[str, Kind]

PYTHON_TYPES = {"text": str, "int": int, "bool": bool}
MAX_LITERAL = 100_000
"""Longest Python-literal cell that is parsed; deeper or longer ones are not lists that any tool wrote."""

_QUOTED = re.compile(r'[",\r\n]')
FORMULA_STARTS = frozenset("=+-@\t\r\n")
"""What a formula begins with: signs, and white space that spreadsheets drop before they look for signs."""


def dump_cell(value: Any, *, allow_nan: bool = True) -> str:
    """JSON text of a list or json cell: compact, unicode kept readable."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)


def csv_line(cells: Iterable[object]) -> str:
    r"""A line of CSV with its end; None is an empty cell.

    Unlike `csv.writer` with "\\n" as its line's end it quotes a carriage return, at which many readers would end the line. A NUL,
    which JSON can hold and a text table may not, is written as U+FFFD.
    """
    texts = ["" if cell is None else str(cell).replace("\0", "\ufffd") for cell in cells]
    if len(texts) == 1 and not texts[0].strip(" \t"):
        return f'"{texts[0]}"\n'  # a blank line is not a record
    return ",".join('"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text for text in texts) + "\n"


def parse_json_cell(text: str) -> Any:
    """The value of a list or json cell. Raises ValueError when it is neither JSON nor a Python literal."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LITERAL:
        raise ValueError(f"a cell of {len(text):,} characters is not JSON")
    try:
        value = read_literal(text)
    except ValueError as error:
        raise ValueError(f"neither JSON nor a Python literal: {error}") from error
    try:
        dump_cell(value)  # not for sets, bytes or complex numbers, which no cell could hold again
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not what JSON can hold: {text[:80]!r}") from error
    return value


def parse_list(text: str | None) -> list[str]:
    """The list of texts in a cell; an empty cell is an empty list. Raises ValueError for anything that is not a list of texts."""
    if text is None or not text.strip():
        return []
    value = parse_json_cell(text)
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"not a list of texts: {text[:80]!r}")
    return value


def as_list(value: Any) -> list[str]:
    """The list of texts that a row has in a column of kind list, or as text in one of kind text. Raises ValueError."""
    return parse_list(value) if value is None or isinstance(value, str) else list(value)


def decode(value: Any, kind: Kind) -> Any:
    """A Python value from a value of an in-memory frame."""
    if kind == "list":
        return parse_list(value)
    if kind == "json":
        return None if value is None else parse_json_cell(value)
    return value


def encode(value: Any, kind: Kind) -> Any:
    """A value for an in-memory frame from a Python value. Raises TypeError when the value is not of its kind.

    JSON has no infinities and no NaN: most readers refuse a file that has one, so none gets into a table.
    """
    if value is None:
        return None
    if kind in ("list", "json"):
        if kind == "list" and not (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            raise TypeError(f"not a list of texts: {value!r}")
        try:
            return storable(dump_cell(list(value) if kind == "list" else value, allow_nan=False))
        except ValueError as error:
            raise TypeError(f"not a JSON value: {error}") from error
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= float_info.max:
            raise TypeError("not a finite number, which JSON cannot hold")
        return float(value)
    if type(value) is not PYTHON_TYPES.get(kind):
        raise TypeError(f"not of kind {kind}: {value!r}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise TypeError(f"a whole number of {value.bit_length()} bits; at most 64 are possible")
    return storable(value) if isinstance(value, str) else value


def check_cells(values: Mapping[str, Any], kinds: Kinds) -> None:
    """Raises TypeError for a column that is none of `kinds` or a value that is not of its kind: no table could hold it."""
    for name, value in values.items():
        if name not in kinds:
            raise TypeError(f"column {name} is not one of {', '.join(kinds)}")
        encode(value, kinds[name])


def storable(text: str) -> str:
    """The text with lone surrogates (which JSON escapes in model output can hold, and UTF-8 cannot) replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


def looks_like_formula(text: str) -> bool:
    """Whether a spreadsheet may run a cell that holds this text when the CSV is opened: the rule of OWASP's "CSV injection".

    Such a text is data like any other and stays as it is; the report counts them, for people to know before they open a part.

    >>> [looks_like_formula(text) for text in ("=1+1", " @SUM(A1)", "-", "a-b", "- two dogs")]
    [True, True, False, False, True]
    """
    start = text.lstrip(" \u00a0\ufeff")
    return len(start) > 1 and (start[0] in FORMULA_STARTS or unicodedata.normalize("NFKC", start[0]) in FORMULA_STARTS)
