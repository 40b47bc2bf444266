"""A lexicon of the user's own, which adds objects to the one that ships with the package, or replaces it.

Its CSV has the columns of `lexicon.csv`, of which only `name` is required. A row of a known name replaces that object; a first
row with the name `*` leaves out all objects that ship with the package. A run keeps the text in its plan.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.texts import LEXICON, has_text, text_of, when_changed

COLUMNS = ("name", "plural", "synonyms", "category", "hypernyms", "parts", "scenes", "number", "shape", "color")
NUMBERS = ("count", "mass", "plural")
ALONE = "*"
DEFAULTS = {"category": "object", "number": "count", "color": "#808080"}
USERS = "shardmill.language"

_given: list[str] = []


def use_own_lexicon(path: Path | None) -> None:
    """Use the objects of a file in runs that are planned from now on; None: only those of the package.

    Raises:
        UserError: The file cannot be read, or a row is not one of a lexicon.
    """
    text = "" if path is None else _read(path)
    rows = list(own_rows(text, str(path)))
    if path is not None and not rows:
        raise UserError(f"the lexicon {path} has no rows")
    _given[:] = [text] if text else []
    _clear_caches()


def own_text() -> str:
    """The lexicon that the run in use keeps, or else the one that was given; empty without one."""
    given = _given[0] if _given else ""
    return text_of(LEXICON, lambda: given) if given or has_text(LEXICON) else ""


def own_rows(text: str, source: str = LEXICON) -> Iterator[dict[str, str]]:
    """The rows of a lexicon, with every column. Raises UserError, naming the row, for one that is not right."""
    reader = csv.DictReader(text.splitlines())
    unknown = [name for name in reader.fieldnames or () if name not in COLUMNS]
    if text and "name" not in (reader.fieldnames or ()):
        raise UserError(f"{source} has no column 'name'; its first line names its columns, of {', '.join(COLUMNS)}")
    if unknown:
        raise UserError(f"{source} has a column {unknown[0]!r}; {did_you_mean(unknown[0], COLUMNS)}")
    for number, cells in enumerate(reader, 2):
        row = {name: (cells.get(name) or "").strip() or DEFAULTS.get(name, "") for name in COLUMNS}
        if not row["name"] or None in cells:
            raise UserError(f"{source}, line {number}: {'a name is missing' if not row['name'] else 'there are too many cells'}")
        if row["number"] not in NUMBERS:
            raise UserError(f"{source}, line {number}: the number is {row['number']!r}; it must be {', '.join(NUMBERS)}")
        yield row


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the lexicon {path} cannot be read: {error}") from error


def _clear_caches() -> None:
    """Forget what was derived from another lexicon: the caches of the language modules, and of those that use them."""
    for name, module in list(sys.modules.items()):
        if name.startswith("shardmill."):
            values: list[Any] = list(vars(module).values())
            if any(str(getattr(value, "__module__", "")).startswith(USERS) for value in values):
                for value in values:
                    getattr(value, "cache_clear", lambda: None)()


when_changed(LEXICON, _clear_caches)
