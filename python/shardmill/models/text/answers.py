"""Reading a model's answer: JSON where it gave JSON, and tolerantly where it gave a list or a sentence instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

Answer = TypeVar("Answer", bound=BaseModel)

FENCE = re.compile(r"```[\w-]*\s*\n(.*?)```", re.DOTALL)
TRAILING_COMMA = re.compile(r",(\s*[}\]])")
ITEM_MARK = re.compile(r"^\s*(?:[-*•·]|\(?\d{1,3}[.):])\s*")
LABEL = re.compile(r"^\s*[A-Za-z][A-Za-z _-]{0,30}:\s*")
EDGE = " \t\"'“”.*`"
JSON_MARK = re.compile(r'[{}]|```|\[\s*"')
REFUSAL = re.compile(
    r"(?:I['’]?m|I am) (?:sorry|unable|not able)|I (?:cannot|can['’]?t|can not|won['’]?t)\b|Sorry\b|As an AI\b|Unfortunately\b"
)
NOTHING = {"null", "none", "n/a", "nothing"}
MAX_ANSWER = 200_000
MAX_ITEM_WORDS = 8
"""A longer piece of a comma list is prose, not an item."""


class Malformed(ValueError):
    """The answer cannot be read as what was asked for; the message says why."""


def parse_answer(text: str, model: type[Answer]) -> Answer:
    """The answer as an instance of `model`.

    Tried in this order: the whole text as JSON, fenced blocks, the first balanced object or array in prose, each also without
    trailing commas; then, for a model with one field and a text without any JSON, a bare list (numbered, bulleted, a line or a
    comma between items) or a bare sentence. Raises Malformed when none of them fits.
    """
    if not isinstance(text, str):
        raise Malformed("no text in the answer")
    text = text.strip()
    if not text:
        raise Malformed("empty answer")
    if len(text) > MAX_ANSWER:
        raise Malformed(f"answer of {len(text):,} characters")
    problem = "no JSON in the answer"
    for value in _json_values(text):
        for shaped in _shapes(value, model):
            try:
                return model.model_validate(shaped)
            except ValidationError as error:
                first = error.errors()[0]
                problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if REFUSAL.match(text):
        raise Malformed("the model declined")
    plain = _plain(text, model)
    if plain is None:
        raise Malformed(problem)
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise Malformed(error.errors()[0]["msg"]) from error


def _json_values(text: str) -> Iterator[Any]:
    candidates = [text, *FENCE.findall(text)]
    start = min((place for opener in "{[" if (place := text.find(opener)) >= 0), default=0)
    if start > 0:
        candidates.append(text[start:])
    for candidate in candidates:
        for variant in (candidate, TRAILING_COMMA.sub(r"\1", candidate)):
            try:
                value, _ = json.JSONDecoder(strict=False).raw_decode(variant.lstrip())
            except (ValueError, RecursionError):
                continue
            if isinstance(value, (dict, list)):
                yield value
                break


def _shapes(value: Any, model: type[BaseModel]) -> Iterator[Any]:
    """The value itself, and a bare list as the only field of a model that is a list."""
    if isinstance(value, dict):
        yield value
    elif len(model.model_fields) == 1:
        yield {next(iter(model.model_fields)): value}


def _plain(text: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """A text without JSON as the only field of the model; None when it does not look like that field."""
    if len(model.model_fields) != 1 or text.startswith("[") or JSON_MARK.search(text) or text.lower() in NOTHING:
        return None
    name, field = next(iter(model.model_fields.items()))
    if field.annotation is str:
        line = LABEL.sub("", _lines(text)[0], count=1).strip(' \t"“”')
        return {name: line} if line else None
    if get_origin(field.annotation) is list and get_args(field.annotation) == (str,):
        items = _items(text)
        return {name: items} if items else None
    return None


def _lines(text: str) -> list[str]:
    """The lines of a text that hold anything, without a first one that only announces the rest ("Here it is:")."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[1:] if len(lines) > 1 and lines[0].rstrip(" *").endswith(":") else lines


def _items(text: str) -> list[str]:
    """Items of a list in plain text; empty when a piece is too long to be an item. Words around the list are left out."""
    lines = _lines(text)
    marked = [line for line in lines if ITEM_MARK.match(line)]
    if len(lines) > 1 and marked:
        pieces = marked
    elif len(lines) > 1 and "," not in text:
        pieces = lines
    else:
        pieces = LABEL.sub("", lines[0], count=1).split(",")
    items = [ITEM_MARK.sub("", piece).strip(EDGE).removeprefix("and ").strip(EDGE) for piece in pieces]
    items = [item for item in items if item]
    return items if all(len(item.split()) <= MAX_ITEM_WORDS for item in items) else []
