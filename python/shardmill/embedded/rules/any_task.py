"""An answer to any task: so that a text stage of one's own runs without weights, from its first minute.

The answer is built from the request's JSON schema and the values of its prompt, and from nothing else; the prompt's prose is not
read. The same values and seed always give the same answer. By the type of a field:

- a list of texts: the words of the given texts that belong to the category that the field's name, or else its description,
  names (`colours`, `animals`, `verbs`; see `word_categories`); the objects that the texts name when it names none;
- a text: the first such word for a field that names a category (`color`, `main_object`), "none" if there is none; a question
  for `question`; else the first sentence of the texts;
- a number: how many of what the field names there are (`dogs`, `number_of_people`), else how many objects;
- true or false: whether the texts mention what the field names (`has_dog`);
- a choice: the first of the choices that the texts mention, else one by the seed;
- a model: each of its fields; a list of models: one for each object, from the words around it.

Limits of lengths and values are kept; a `pattern` only when one of the words fits it. `ImpossibleSchema` says what cannot be met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from shardmill.embedded.rules.word_categories import OBJECTS, category_of, count_in, name_words, words_in
from shardmill.language.appearance import words_of
from shardmill.language.existence_questions import existence_question
from shardmill.language.relations import mentions
from shardmill.language.word_spans import phrase_around, word_spans

Schema = Mapping[str, Any]

MAX_TEXT = 2_000
"""Characters of the given texts that are read."""
MAX_DEPTH = 12
"""Models within models; a schema that refers to itself ends here."""
MAX_ITEMS = 16
NOTHING = "none"
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|$)")
_COUNTING = frozenset({"number", "count", "num", "of", "how", "many", "total", "n", "amount"})
_ASKING = frozenset({"is", "are", "has", "have", "contain", "show", "with", "there", "a", "an", "any", "in", "the", "mention"})
_FORMATS = {
    "date": "2024-01-01", "date-time": "2024-01-01T00:00:00Z", "time": "00:00:00Z", "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000", "email": "nobody@example.org", "uri": "https://example.org/",
    "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
}  # fmt: skip


class ImpossibleSchema(ValueError):
    """No value that these rules can build fits the schema; the message says which field."""


@dataclass(frozen=True)
class _Field:
    """What a value is for: the name and description of its field, the text to take it from, and how deep it is nested."""

    name: str
    description: str
    text: str
    depth: int = 0

    @property
    def category(self) -> str | None:
        return category_of(self.name, self.description)


def answer_any(values: Mapping[str, Any], schema: Schema | None, rng: Random) -> Any:
    """An answer to a request with these prompt `values`, which fits the JSON `schema`; a sentence without a schema.

    Raises ImpossibleSchema.
    """
    text = " ".join(_plain(part) for part in _texts(values))[:MAX_TEXT].strip()
    builder = _AnswerBuilder((schema or {}).get("$defs", {}), rng)
    return builder.value(schema or {"type": "string"}, _Field("", "", text))


def _texts(values: Any) -> Iterator[str]:
    """Every text among the values of a prompt, in their order."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from (text for value in values.values() for text in _texts(value))
    elif isinstance(values, Sequence):
        yield from (text for value in values for text in _texts(value))


def _plain(text: str) -> str:
    """A text in one line and without characters that no answer keeps."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class _AnswerBuilder:
    """Builds values for the parts of one schema; `definitions` are those that its `$ref`s name."""

    def __init__(self, definitions: Mapping[str, Schema], rng: Random):
        self._definitions, self._rng = definitions, rng

    def value(self, schema: Schema, field: _Field) -> Any:
        """A value of a part of the schema."""
        if field.depth > MAX_DEPTH:
            raise ImpossibleSchema(f"{field.name or 'the answer'} is nested too deeply")
        schema = self._resolved(schema)
        field = replace(field, description=str(schema.get("description", field.description)))
        if "enum" in schema:
            return self._choice(schema["enum"], field.text)
        if branches := schema.get("anyOf", schema.get("oneOf")):
            return self._branch(branches, field)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            return self._branch([{**schema, "type": each} for each in kind], field)
        if kind == "object":
            return self._object(schema, field)
        if kind == "array":
            return self._list(schema, field)
        if kind == "boolean":
            return _mentions(field)
        if kind in ("integer", "number"):
            return _number(_count(field), schema, field.name)
        return None if kind == "null" else _text(schema, field)

    def _resolved(self, schema: Schema) -> Schema:
        """A part of the schema with what it refers to; its own keys go before."""
        while "$ref" in schema or "allOf" in schema:
            own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            parts = list(schema.get("allOf", ()))
            if "$ref" in schema:
                parts.append(self._definitions[schema["$ref"].rpartition("/")[2]])
            schema = {**{key: value for part in parts for key, value in part.items()}, **own}
        return {**schema, "enum": [schema["const"]]} if "const" in schema else schema

    def _choice(self, choices: Sequence[Any], text: str) -> Any:
        """The choice that the text mentions first, else one by the seed."""
        found = [(spans[0], choice) for choice in choices if isinstance(choice, str) and (spans := mentions(text, choice))]
        return min(found, key=lambda each: each[0])[1] if found else self._rng.choice(list(choices))

    def _branch(self, branches: Sequence[Schema], field: _Field) -> Any:
        """A value of the first branch that can be met; null, where allowed, for a category of which the text has nothing."""
        resolved = sorted(map(self._resolved, branches), key=lambda branch: branch.get("type") == "null")
        if resolved[-1].get("type") == "null" and field.category is not None and not words_in(field.text, field.category):
            return None
        problem = ImpossibleSchema(f"{field.name or 'the answer'} has no branch that can be met")
        for branch in resolved:
            try:
                return self.value(branch, field)
            except ImpossibleSchema as error:
                problem = error
        raise problem

    def _object(self, schema: Schema, field: _Field) -> dict[str, Any]:
        required = schema.get("required", ())
        found: dict[str, Any] = {}
        for name, part in schema.get("properties", {}).items():
            try:
                found[name] = self.value(part, _Field(name, "", field.text, field.depth + 1))
            except ImpossibleSchema:
                if name in required:
                    raise
        others = schema.get("additionalProperties")
        if isinstance(others, Mapping) and not found:
            found |= self._entries(schema, others, field)
        return found

    def _entries(self, schema: Schema, part: Schema, field: _Field) -> dict[str, Any]:
        """The entries of a mapping from names to values: one for each word of the field's category."""
        names = schema.get("propertyNames", {})
        least, most = schema.get("minProperties", 0), schema.get("maxProperties", MAX_ITEMS)
        keys = [str(key) for key in self._resolved(names).get("enum", ())] or self._words(field, names, least)
        return {key: self.value(part, self._about(key, field)) for key in keys[: max(least, min(most, MAX_ITEMS))]}

    def _list(self, schema: Schema, field: _Field) -> list[Any]:
        least = schema.get("minItems", 0)
        most = max(least, min(schema.get("maxItems", MAX_ITEMS), MAX_ITEMS))
        first = [self.value(part, replace(field, depth=field.depth + 1)) for part in schema.get("prefixItems", ())]
        part = schema.get("items", {} if "prefixItems" not in schema else False)
        if part is False or most <= len(first):
            return first
        try:
            items = self._items(self._resolved(part), field, max(0, least - len(first)))
        except ImpossibleSchema:
            if least > len(first):
                raise
            items = []
        items = _distinct(items) if schema.get("uniqueItems") else items
        if len(first) + len(items) < least:
            raise ImpossibleSchema(f"{field.name or 'the answer'} needs {least} different items")
        return [*first, *items][:most]

    def _items(self, part: Schema, field: _Field, least: int) -> list[Any]:
        """The items of a list, at least so many: texts, choices, numbers, or one value for each word of the field's category."""
        if "enum" in part:
            choices = list(part["enum"])
            found = [choice for choice in choices if isinstance(choice, str) and mentions(field.text, choice)]
            rest = [choice for choice in choices if choice not in found]
            found += self._rng.sample(rest, min(len(rest), max(0, least - len(found))))
            return found + self._rng.choices(choices, k=max(0, least - len(found)))
        if part.get("format") in _FORMATS:
            return [_FORMATS[part["format"]]] * max(1, least)
        if part.get("type") == "string":
            return self._words(field, part, least)
        if part.get("type") in ("integer", "number"):
            numbers = [_count(replace(field, name=name)) for name in words_in(field.text, OBJECTS)]
            numbers += range(1, least + 1 - len(numbers))
            return [_number(number, part, field.name) for number in numbers]
        subjects = self._words(field, {}, least) if field.depth < MAX_DEPTH // 2 else self._words(field, {}, least)[:least]
        return [self.value(part, self._about(subject, field)) for subject in subjects]

    def _words(self, field: _Field, part: Schema, least: int) -> list[str]:
        """The words of the field's category, at least so many: filled up with objects, other words, and numbered items."""
        found = words_in(field.text, field.category or OBJECTS)
        if len(found) < least:
            spare = [*words_in(field.text, OBJECTS), *words_of(field.text), *(f"item {at + 1}" for at in range(least))]
            found = list(dict.fromkeys([*found, *spare]))[: max(least, len(found))]
        return [_fitted([word], part, field.name) for word in found]

    def _about(self, subject: str, field: _Field) -> _Field:
        """The field of a value about one thing of a text: it is taken from the noun phrase that names the thing."""
        words = word_spans(field.text)
        phrase = phrase_around(field.text, words, subject) if words else None
        text = subject if phrase is None else field.text[phrase.start : phrase.end]
        return _Field(field.name, "", text, field.depth + 1)


def _mentions(field: _Field) -> bool:
    """Whether the text mentions what the name of a field asks for."""
    asked = [word for word in name_words(field.name) if word not in _ASKING]
    if mentions(field.text, " ".join(asked)) or any(word in words_of(field.text) for word in asked):
        return True
    category = category_of(" ".join(asked))
    return category is not None and bool(words_in(field.text, category))


def _count(field: _Field) -> int:
    """How many of what the name of a field says, or of objects, the text names."""
    asked = " ".join(word for word in name_words(field.name) if word not in _COUNTING)
    category = category_of(asked)
    if category is not None:
        return count_in(field.text, words_in(field.text, category))
    if asked and mentions(field.text, asked):
        return count_in(field.text, [asked])
    return count_in(field.text, words_in(field.text, OBJECTS))


def _number(wanted: int, schema: Schema, name: str) -> int | float:
    """The allowed number that is nearest to the wanted one. Raises ImpossibleSchema where there is none."""
    whole = schema.get("type") == "integer"
    step = schema.get("multipleOf", 1 if whole else None)
    low = max(schema.get("minimum", -math.inf), _beyond(schema.get("exclusiveMinimum"), step, 1))
    high = min(schema.get("maximum", math.inf), _beyond(schema.get("exclusiveMaximum"), step, -1))
    number: int | float = min(max(wanted, low), high)
    if step:
        factor = math.ceil(number / step)
        number = step * (factor if step * factor <= high else math.floor(high / step))
    if not low <= number <= high:
        raise ImpossibleSchema(f"{name or 'the answer'} has no allowed number")
    return int(number) if whole else number


def _beyond(bound: float | None, step: float | None, direction: int) -> float:
    """The number next to a bound that is itself not allowed."""
    if bound is None:
        return -direction * math.inf
    if step:
        return step * (math.floor(bound / step) + 1 if direction > 0 else math.ceil(bound / step) - 1)
    return math.nextafter(bound, direction * math.inf)


def _text(schema: Schema, field: _Field) -> str:
    """The text of a field; see the module."""
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    sentences = [found[0].strip() for found in _SENTENCE.finditer(field.text) if found[0].strip()] or [NOTHING]
    words = words_in(field.text, OBJECTS)
    if name_words(field.name)[-1:] == ["question"] and words:
        return _fitted([existence_question(words[0])], schema, field.name)
    if field.category is not None:
        found = words_in(field.text, field.category)
        return _fitted([*found, NOTHING] if "pattern" in schema else [*found, NOTHING][:1], schema, field.name)
    return _fitted([*sentences, *words, NOTHING] if "pattern" in schema else sentences[:1], schema, field.name)


def _fitted(candidates: Sequence[str], schema: Schema, name: str) -> str:
    """The first candidate that fits the schema, cut or repeated to an allowed length. Raises ImpossibleSchema."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    for text in candidates:
        while len(text) < least:
            text = f"{text} {text}" if text else NOTHING
        if len(text) > most:
            cut = text[: int(most) + 1].rpartition(" ")[0]
            text = cut if len(cut) >= max(least, 1) else text[: int(most)]
        if len(text.strip()) < least or len(text) > len(text.strip()):
            text = text.strip().ljust(least, ".")
        if "pattern" not in schema or re.search(schema["pattern"], text):
            return text
    raise ImpossibleSchema(f"{name or 'the answer'} has a pattern that none of the words fits")


def _distinct(items: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found
