"""Lists of class names and dictionaries of concepts, in whatever file they come.

Understood are JSON (a list of names, data set -> names, concept -> backgrounds, {"concepts", "backgrounds"}), tables with a
column of names and perhaps one of backgrounds, text of one name a line, and folders of Hugging Face data sets.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from shardmill.anyedit.concepts.label_names import label_names
from shardmill.language.lexicon import lexicon
from shardmill.language.locatives import is_locative, is_place
from shardmill.language.nouns import fold
from shardmill.store.cells import parse_json_cell
from shardmill.tables.parquet import BROKEN
from shardmill.util.errors import UserError, name_list
from shardmill.util.parquet_probe import check_survivable

Meaning = Literal["auto", "names", "backgrounds"]
NAME_COLUMNS = ("concept", "name", "class", "class_name", "label", "category")
BACKGROUND_COLUMNS = ("all_backgrounds", "backgrounds", "background")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
MAX_PROBED = 400
"""How many entries of a dictionary decide what it holds."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name as a source has it, with the backgrounds it gives, and where it is from: the file, or the data set in it."""

    text: str
    backgrounds: tuple[str, ...] = ()
    source: str = ""


def read_source(path: Path, meaning: Meaning = "auto") -> list[Name]:
    """All names of a source in order. `meaning` says what the lists of a JSON dictionary are, where "auto" cannot tell.

    Raises UserError naming the file and the entry for what is no list of names.
    """
    if path.is_dir():
        return [Name(name, (), path.name) for name in label_names(path)]
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return list(_from_json(path, _load(path), meaning))
    names = list(_from_table(path)) if suffix in TABLES else list(_from_text(path))
    if not names:
        raise UserError(f"{path} holds no names.")
    return names


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start:,}); save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}.") from None


def _from_json(path: Path, value: Any, meaning: Meaning) -> Iterator[Name]:
    if isinstance(value, list):
        yield from (Name(text, (), path.stem) for text in _texts(path, "", value))
    elif isinstance(value, dict) and set(value) == {"concepts", "backgrounds"}:
        shared = tuple(_texts(path, "backgrounds, ", value["backgrounds"]))
        yield from (Name(text, shared, path.stem) for text in _texts(path, "concepts, ", value["concepts"]))
    elif isinstance(value, dict) and value:
        lists = {str(key): list(_texts(path, f"{key!r}, ", _listed(item))) for key, item in value.items()}
        if meaning == "backgrounds" or (meaning == "auto" and _are_backgrounds(path, lists)):
            yield from (Name(key, tuple(texts), path.stem) for key, texts in lists.items())
        else:
            yield from (Name(text, (), f"{path.stem}:{key}") for key, texts in lists.items() for text in texts)
    else:
        raise UserError(f"{path} holds {_kind(value)}; a list of names, or a dictionary of lists is expected.")


def _listed(value: Any) -> Any:
    """The list of a dictionary's entry; {"b": [...]} is how one tool writes a concept's backgrounds."""
    return value["b"] if isinstance(value, dict) and isinstance(value.get("b"), list) else value


def _texts(path: Path, where: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        raise UserError(f"{path}: {where.rstrip(', ') or 'it'} holds {_kind(value)} where a list of texts is expected.")
    for position, text in enumerate(value, 1):
        if not isinstance(text, str):
            raise UserError(f"{path}: {where}entry {position} is {_kind(text)} ({str(text)[:40]}) where a text is expected.")
        yield text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return "an empty object" if value == {} else names.get(type(value), "null")


def _are_backgrounds(path: Path, lists: Mapping[str, list[str]]) -> bool:
    """Whether a dictionary is concept -> backgrounds and not data set -> names. Raises UserError where neither is likelier."""
    texts = [text for items in lists.values() for text in items[:8]][:MAX_PROBED]
    places = sum(is_locative(text) or is_place(text) for text in texts)
    things = sum(not is_locative(text) and not is_place(text) and lexicon().exact(text) is not None for text in texts)
    if places != things:
        return places > things
    keys = list(lists)[:MAX_PROBED]
    known = sum(lexicon().find(key) is not None for key in keys)
    if known * 2 == len(keys):
        raise UserError(
            f"{path} may be data set -> names or concept -> backgrounds. Say which: --names {path} or --backgrounds {path}."
        )
    return known * 2 > len(keys)


def _from_table(path: Path) -> Iterator[Name]:
    name = where = None
    for line, row in _records(path):
        if name is None:
            name, where = _column(row, NAME_COLUMNS), _column(row, BACKGROUND_COLUMNS)
            if name is None:
                raise UserError(f"{path} has the columns {name_list(row)}; one called {', '.join(NAME_COLUMNS)} is needed.")
        text = row.get(name)
        if text is not None and not isinstance(text, str):
            raise UserError(f"{path}, line {line}: {name} is {_kind(text)} ({str(text)[:40]}) where a text is expected.")
        if (text or "").strip():
            yield Name(text or "", _cell_list(path, line, row.get(where)) if where else (), path.stem)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a table with the lines they end on (row numbers of Parquet). Raises UserError for one that is broken."""
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        check_survivable(path)
        try:
            table = pl.read_parquet(path, glob=False)
        except BROKEN as error:
            raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None
        yield from enumerate(table.iter_rows(named=True), 1)
        return
    lines = io.StringIO(_utf8(path), newline="")
    if suffix in (".jsonl", ".ndjson"):
        for line, text in enumerate(lines, 1):
            if text.strip():
                try:
                    record = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path}, line {line}: not JSON: {error}.") from None
                yield line, record if isinstance(record, dict) else {NAME_COLUMNS[0]: record}
        return
    reader = csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{path}, line {reader.line_num}: not as many cells as the header has.")
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None


def _column(columns: Iterable[str], wanted: Iterable[str]) -> str | None:
    by_name = {column.strip().lower(): column for column in columns}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _cell_list(path: Path, line: int, cell: Any) -> tuple[str, ...]:
    """The backgrounds of a cell: a list, one in JSON or Python, or phrases between semicolons."""
    if cell is not None and not isinstance(cell, str):
        return tuple(_texts(path, f"line {line}, ", cell))
    text = (cell or "").strip()
    if not text.startswith(("[", "(")):
        return tuple(part.strip() for part in text.split(";") if part.strip())
    try:
        value = parse_json_cell(text)
    except ValueError as error:
        raise UserError(f"{path}, line {line}: the backgrounds are {error}.") from None
    return tuple(_texts(path, f"line {line}, ", list(value) if isinstance(value, tuple) else value))


def _from_text(path: Path) -> Iterator[Name]:
    yield from (Name(line, (), path.stem) for line in _utf8(path).splitlines() if line.strip())


def _utf8(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from None
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes, so it is not a list of names.")
    return text


def distinct_phrases(phrases: Iterable[str]) -> list[str]:
    """Backgrounds in one line each, without those that only differ in case, number or article."""
    seen: dict[str, str] = {}
    for phrase in (" ".join(phrase.split()) for phrase in phrases):
        key = " ".join(fold(word) for word in phrase.lower().split() if word not in ("a", "an", "the"))
        if key:
            seen.setdefault(key, phrase)
    return list(seen.values())
