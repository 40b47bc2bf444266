"""Reading a model's answer: JSON where it gave JSON, and tolerantly where it gave a list or a sentence instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from shardmill.util.literals import read_literal

Answer = TypeVar("Answer", bound=BaseModel)

# Models repeat themselves, blanks and line breaks above all, so no pattern may scan the rest of the text from each position:
# that would take quadratic time.
FENCE = re.compile(r"(?:```|~~~)[\w-]*[ \t\r]*\n(.*?)(?:```|~~~)", re.DOTALL)
OPEN_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>", re.IGNORECASE)
END_MARK = r"(?:<\|[\w-]{1,40}\|>|</?s>|<end_of_turn>|\[/?INST\])"
END_MARKS, FIRST_MARKS = re.compile(END_MARK), re.compile(rf"(?:{END_MARK}\s*)+")
CONTROL = re.compile(r" ?[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+ ?")
SURROGATE = re.compile(r"[\ud800-\udfff]")
TRAILING_COMMA = re.compile(r",(\s*[}\]])")
ITEM_MARK = re.compile(r"^\s*(?:[-*•·]|\(?\d{1,3}[.):])\s*")
LABEL = re.compile(r"^\s*[A-Za-z][A-Za-z _-]{0,30}:\s*")
EDGE = " \t\"'“”.*`"
JSON_MARK = re.compile(r'[{}]|```|~~~|\[\s*"')
REFUSAL = re.compile(
    r"(?:I['’]?m|I am) (?:sorry|unable|not able)|I (?:cannot|can['’]?t|can not|won['’]?t)\b|Sorry\b|As an AI\b|Unfortunately\b"
)
NOTHING = {"null", "none", "n/a", "nothing"}
MAX_ANSWER = 200_000
MAX_LITERAL, MAX_BRACKETS = 20_000, 200
"""A Python literal of more characters or brackets is not read: its parser is no match for hostile nesting."""
MAX_FENCES = 50
MAX_ITEM_WORDS = 8
"""A longer piece of a comma list is prose, not an item."""


class Malformed(ValueError):
    """The answer cannot be read as what was asked for; the message says why."""


def parse_answer(text: str, model: type[Answer]) -> Answer:
    """The answer as an instance of `model`.

    Thoughts in `<think>` marks and end-of-turn marks are left out. Tried in this order: the whole text as JSON, fenced blocks,
    the first balanced object or array in prose, each also without trailing commas and as a Python literal; then, for a model with
    one field and a text without any JSON, a bare list (numbered, bulleted, a line or a comma between items) or a bare sentence.
    For a RootModel of a Literal, a choice: the word itself, quoted or in JSON, or the only one of the words, that a sentence
    begins with. Control characters but for line breaks and tabs become blanks. Raises Malformed when none of them fits.
    """
    if not isinstance(text, str):
        raise Malformed("no text in the answer")
    if len(text) > MAX_ANSWER:
        raise Malformed(f"answer of {len(text):,} characters")
    text = _answer_itself(text)
    if not text:
        raise Malformed("empty answer")
    if issubclass(model, RootModel):
        return model.model_validate(_choice(text, model))
    problem = "no JSON in the answer"
    for value in _json_values(text):
        for shaped in _shapes(value, model):
            try:
                return model.model_validate(_clean(shaped))
            except ValidationError as error:
                first = error.errors()[0]
                problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            except RecursionError:
                problem = "JSON nested too deeply"
    if REFUSAL.match(text):
        raise Malformed("the model declined")
    plain = _plain(text, model)
    if plain is None:
        raise Malformed(problem)
    try:
        return model.model_validate(_clean(plain))
    except ValidationError as error:
        raise Malformed(error.errors()[0]["msg"]) from error


def _json_values(text: str) -> Iterator[Any]:
    candidates = [text, *_fenced(text)]
    start = min((at for opener in "{[" if (at := text.find(opener)) >= 0), default=0)
    if start > 0:
        candidates.append(text[start:])
    for candidate in candidates:
        for variant in (candidate, TRAILING_COMMA.sub(r"\1", candidate)):
            try:
                value, _ = json.JSONDecoder(strict=False).raw_decode(variant.lstrip())
            except (ValueError, RecursionError):
                value = _literal(variant)
            if isinstance(value, (dict, list)):
                yield value
                break


def _fenced(text: str) -> list[str]:
    return [found[1] for found in islice(FENCE.finditer(text), MAX_FENCES)]


def _literal(text: str) -> Any:
    """A list or dict as Python writes it, with single quotes; None for anything else."""
    text = text.strip()
    small = len(text) <= MAX_LITERAL and sum(map(text.count, "[{(")) <= MAX_BRACKETS
    if not small or text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    try:
        return json.loads(json.dumps(read_literal(text)))  # a set has no order, and bytes are no text
    except (ValueError, RecursionError, TypeError):
        return None


def _answer_itself(text: str) -> str:
    """The text without thoughts and without the marks that end a turn. Raises Malformed for thoughts that never end."""
    text = _without_thoughts(text.lstrip("\ufeff"))
    if OPEN_THOUGHTS.match(text.lstrip()):
        raise Malformed("thoughts without an answer")
    text = text.rpartition("</think>")[2].lstrip()  # of a model whose chat template has opened them
    if found := FIRST_MARKS.match(text):
        text = text[found.end() :]
    return END_MARKS.split(text, maxsplit=1)[0].strip()


def _without_thoughts(text: str) -> str:
    """The text without its `<think>` blocks; a block that is never closed stays."""
    parts, at, unclosed = [], 0, set[str]()
    for opening in OPEN_THOUGHTS.finditer(text):
        name = opening[1].lower()
        if opening.start() < at or name in unclosed:
            continue
        closing = re.compile(f"</{name}>", re.IGNORECASE).search(text, opening.end())
        if closing is None:
            unclosed.add(name)
            continue
        parts.append(text[at : opening.start()])
        at = closing.end()
    return "".join(parts) + text[at:]


def _clean(value: Any) -> Any:
    """The same with every text fit for a CSV cell."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", CONTROL.sub(" ", value).strip() if CONTROL.search(value) else value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _choice(text: str, model: type[BaseModel]) -> str:
    annotation = model.model_fields["root"].annotation
    if get_origin(annotation) is not Literal:
        raise TypeError(f"{model.__name__} is no choice between words")
    words = {str(word).lower(): word for word in get_args(annotation)}
    candidates = [text, *_fenced(text)]
    for value in _json_values(text):
        candidates += [item for item in (value.values() if isinstance(value, dict) else value) if isinstance(item, str)]
    for each in candidates:
        if (word := each.strip().strip(EDGE + "!'").lower()) in words:
            return str(words[word])
    found = {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.lower())}
    if len(found) == 1 and text.strip(EDGE + "!'").lower().startswith(word := found.pop()):
        return str(words[word])
    raise Malformed(f"none of {', '.join(words.values())}, or more than one: {text[:80]!r}")


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
    """The non-empty lines of a text, without a first one that only announces the rest ("Here it is:")."""
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
