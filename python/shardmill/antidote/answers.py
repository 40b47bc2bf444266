"""The answers that Antidote's prompts ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

MAX_OBJECTS = 24


class WeightedObject(BaseModel):
    """The name of an object, and its weight in the prompt or in the negative prompt."""

    object: str
    weight: float = Field(ge=0, le=3)


class ParsedCaption(BaseModel):
    """A caption to generate an image from, what it shows, and what would fit it but is not there."""

    caption: str
    present: list[WeightedObject] = Field(max_length=MAX_OBJECTS)
    absent: list[WeightedObject] = Field(max_length=MAX_OBJECTS)


def _bare(word: Any) -> Any:
    return word.strip(" .!'\"").lower() if isinstance(word, str) else word


class CaptionVerdict(BaseModel):
    """What a judge says of a parsed caption: "pass", or the first thing that is wrong with it."""

    verdict: Annotated[Literal["pass", "abstract", "not visible", "same thing", "implausible"], BeforeValidator(_bare)]
