"""What is wrong with an entry of a site file, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from shardmill.util.errors import did_you_mean


def first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """The first validation error, with a hint for a mistyped name or value. A mistyped name comes before what is missing."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"there is no entry {where!r}; {did_you_mean(str(first['loc'][-1]), _entries(model, first['loc'][:-1]))}"
    if first["type"] == "literal_error":
        choices = [choice.strip(" '") for choice in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{where}: {str(first['input'])!r} is not known; {did_you_mean(str(first['input']), choices)}"
    return f"{where}: {message}" if where else message


def _entries(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The entries of the block at a path."""
    for part in path:
        field = model.model_fields.get(str(part))
        model = next(_models(field.annotation), model) if field is not None else model
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
