"""How a server is asked to hold an answer to a JSON schema, and what to try when it cannot."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal

from shardmill.models.contract import Sampling, TextRequest
from shardmill.models.text.settings import closed_schema

SchemaMode = Literal["json_schema", "json_object", "none"]
MAX_FORMATS = 256
WEAKER: dict[SchemaMode, SchemaMode] = {"json_schema": "json_object", "json_object": "none"}


class Formats:
    """The parts of requests that ask for the form of the answer. Schemas are told apart by identity: a stage keeps its few."""

    def __init__(self) -> None:
        self._made: dict[tuple[SchemaMode, int], tuple[Mapping[str, Any], dict[str, Any]]] = {}

    def of(self, mode: SchemaMode, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """What `response_format` makes; made once for a schema."""
        if schema is None or mode == "none":
            return {}
        key = mode, id(schema)
        if key not in self._made:
            if len(self._made) >= MAX_FORMATS:
                self._made.clear()
            self._made[key] = schema, response_format(mode, schema)  # the schema too: while it is held nothing else has its id
        return self._made[key][1]


def response_format(mode: SchemaMode, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a request that asks for the form; nothing of the kind without a schema or in mode none."""
    if schema is None or mode == "none":
        return {}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    closed = closed_schema(schema)
    form = {"name": "answer", "schema": dict(schema)} if closed is None else {"name": "answer", "schema": closed, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


class FormatQuestion:
    """The chat of a probe."""

    task = "probe"
    values: Mapping[str, Any] = {}

    def messages(self, seed: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Give me the code as JSON."}]


def probe() -> tuple[str, TextRequest]:
    """A code, and a request that only a server which holds answers to schemas answers with it."""
    secret = secrets.token_hex(4)
    schema = {"type": "object", "properties": {"code": {"type": "string", "enum": [secret]}}, "required": ["code"]}
    return secret, TextRequest(FormatQuestion(), Sampling(max_tokens=40), schema, "probe")
