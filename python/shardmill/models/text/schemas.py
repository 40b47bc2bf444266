"""JSON schemas of answers: the forms that engines want them in, and a probe of whether an engine constrains answers to them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from shardmill.models.contract import Sampling, TextRequest

GUIDANCE = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
"""How llguidance spaces an answer: as the examples of prompts are. Left free, a small model may fill its answer with blanks."""


def choices_of(schema: Mapping[str, Any]) -> list[str]:
    """The words of a schema that is a choice between words; empty for any other schema."""
    words = schema.get("enum", [])
    return list(words) if "properties" not in schema and all(isinstance(word, str) for word in words) else []


def closed_schema(schema: Any) -> Any:
    """The schema with `additionalProperties: false` everywhere, as OpenAI's strict mode requires.

    None for a schema that strict mode refuses: one with optional fields.
    """
    if isinstance(schema, list):
        parts = [closed_schema(part) for part in schema]
        return None if any(part is None for part in parts) else parts
    if not isinstance(schema, Mapping):
        return schema
    fields = schema.get("properties")
    if isinstance(fields, Mapping) and set(schema.get("required", ())) != set(fields):
        return None
    closed = {}
    for name, part in schema.items():
        if name in ("properties", "$defs") and isinstance(part, Mapping):
            inner = {key: closed_schema(value) for key, value in part.items()}
            closed[name] = None if None in inner.values() else inner
        else:
            closed[name] = closed_schema(part) if name in ("items", "anyOf", "prefixItems") else part
        if closed[name] is None:
            return None
    return {**closed, "additionalProperties": False} if isinstance(fields, Mapping) else closed


def guided(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with a note for llguidance on how answers are spaced."""
    return {**schema, "x-guidance": GUIDANCE}


class ProbePrompt:
    """The chat of a probe."""

    task = "probe"
    values: Mapping[str, Any] = {}

    def messages(self, seed: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Give me the code as JSON."}]


def make_probe() -> tuple[str, TextRequest]:
    """A secret code, and a request that only a server which constrains answers to schemas can answer with it."""
    secret = secrets.token_hex(4)
    schema = {"type": "object", "properties": {"code": {"type": "string", "enum": [secret]}}, "required": ["code"]}
    return secret, TextRequest(ProbePrompt(), Sampling(max_tokens=40), schema, "probe")
