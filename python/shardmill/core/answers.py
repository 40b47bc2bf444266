"""Reading a model's answer: JSON where it gave JSON, and tolerantly where it gave a list or a sentence instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from shardmill.core.answer_marks import answer_itself
from shardmill.core.plain_answers import EDGE, Malformed, choice_text, items, sentence
from shardmill.util.literals import read_literal

__all__ = ["Malformed", "parse_answer"]

Answer = TypeVar("Answer", bound=BaseModel)

# Models repeat themselves, blanks and line breaks above all, so no pattern may scan the rest of the text from each position:
# that would take quadratic time.
FENCE = re.compile(r"(?:```|~~~)[\w-]*[ \t\r]*\n(.*?)(?:```|~~~)", re.DOTALL)
CONTROL = re.compile(r" ?[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+ ?")
SURROGATE = re.compile(r"[\ud800-\udfff]")
TRAILING_COMMA = re.compile(r",(\s*[}\]])")
BETWEEN_ITEMS = re.compile(r"[\s,]*")
BRACKET, REMARK = re.compile(r"[{\[]"), re.compile(r'\[[^\[\]{}"\n]{0,200}\]|\{[^\[\]{}":\n]{0,200}\}')
JSON_MARK = re.compile(r'[{}]|```|~~~|\[\s*"')
REFUSAL = re.compile(
    r"(?:I['’]?m|I am) (?:sorry|unable|not able)|I (?:cannot|can['’]?t|can not|won['’]?t|apologi[sz]e|do not|don['’]?t)\b|Sorry\b"
    r"|My apologies\b|As an? (?:AI|language model)\b|Unfortunately\b"
)
NOTHING = {"null", "none", "n/a", "nothing"}
MAX_ANSWER = 200_000
MAX_LITERAL, MAX_BRACKETS = 20_000, 200
"""A Python literal of more characters or brackets is not read: its parser is no match for hostile nesting."""
MAX_FENCES, MAX_REMARKS = 50, 20


def parse_answer(text: str, model: type[Answer]) -> Answer:
    """The answer as an instance of `model`.

    Thoughts and the marks of turns are left out, see `answer_marks`. Tried in this order: the whole text as JSON, fenced blocks,
    the first balanced object or array in prose (behind remarks in brackets), each also without trailing commas and as a Python
    literal; then, for a model with one field and a text without any JSON, a bare list or sentence, see `plain_answers`. For a
    RootModel of a Literal, a choice: the word itself, quoted or in JSON, or the only one of the words, that a sentence begins
    with. Control characters but for line breaks and tabs become blanks. Raises Malformed when none of them fits.
    """
    if not isinstance(text, str):
        raise Malformed("no text in the answer")
    if len(text) > MAX_ANSWER:
        raise Malformed(f"answer of {len(text):,} characters")
    given, text = text, answer_itself(text)
    if not text:
        raise Malformed("thoughts without an answer" if given.strip() else "empty answer")
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
    try:
        plain = _plain(text, model)
        if plain is not None:
            return model.model_validate(_clean(plain))
    except Malformed as error:
        problem = str(error)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
    raise Malformed(problem)


def whole_items(text: str) -> str | None:
    """The items of a list of texts that the token limit has cut, as a JSON list, without the last one; None if none is whole.

    Small models repeat themselves: what stands before is as good as the answers of others.

    >>> whole_items('{"objects": ["dog", "red ball", "dog", "re')
    '["dog", "red ball", "dog"]'
    """
    text = answer_itself(text)
    found: list[str] = []
    at = text.find("[") + 1
    while at:
        at = BETWEEN_ITEMS.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        if text[at : at + 1] != '"':
            break
        try:
            item, at = json.JSONDecoder(strict=False).raw_decode(text, at)
        except ValueError:
            break
        found.append(item)
    return json.dumps(found, ensure_ascii=False) if found else None


def _json_values(text: str) -> Iterator[Any]:
    start = _json_start(text)
    whole = [] if start and text[0] in "[{" else [text]
    behind = [text[start:]] if start else []
    for candidate in (*whole, *_fenced(text), *behind):
        for variant in (candidate, TRAILING_COMMA.sub(r"\1", candidate)):
            try:
                value, _ = json.JSONDecoder(strict=False).raw_decode(variant.lstrip())
            except (ValueError, RecursionError):
                value = _literal(variant)
            if isinstance(value, (dict, list)):
                yield value
                break


def _json_start(text: str) -> int:
    """Where the first object or array begins that is more than a remark, such as [note] or {sic}, with another one behind it."""
    start = 0
    for _ in range(MAX_REMARKS):
        found = BRACKET.search(text, start)
        if found is None:
            return start
        remark = REMARK.match(text, found.start())
        if remark is None or not BRACKET.search(text, remark.end()):
            return found.start()
        start = remark.end()
    return start


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
    candidates = [text, choice_text(text), *_fenced(text)]
    for value in _json_values(text):
        candidates += [item for item in (value.values() if isinstance(value, dict) else value) if isinstance(item, str)]
    for each in candidates:
        if (word := each.strip().strip(EDGE + "!'").lower()) in words:
            return str(words[word])
    found = {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.lower())}
    if len(found) == 1 and choice_text(text).strip(EDGE + "!'").lower().startswith(word := found.pop()):
        return str(words[word])
    raise Malformed(f"none of {', '.join(words.values())}, or more than one: {text[:80]!r}")


def _shapes(value: Any, model: type[BaseModel]) -> Iterator[Any]:
    """The value itself, its fields in another case or one level down, and a bare list as the only field of a model."""
    if isinstance(value, dict):
        yield value
        known = {name.lower(): name for name in model.model_fields}
        yield {known.get(str(name).strip().lower().replace(" ", "_"), name): item for name, item in value.items()}
        if len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
            yield inner
    elif len(model.model_fields) == 1:
        yield {next(iter(model.model_fields)): value}


def _plain(text: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """A text without JSON as the only field of the model; None when it does not look like that field."""
    if len(model.model_fields) != 1 or text.startswith("[") or JSON_MARK.search(text) or text.lower() in NOTHING:
        return None
    name, field = next(iter(model.model_fields.items()))
    if field.annotation is str:
        line = sentence(text)
        return {name: line} if line else None
    if get_origin(field.annotation) is list and get_args(field.annotation) == (str,):
        found = items(text)
        return {name: found} if found else None
    return None
