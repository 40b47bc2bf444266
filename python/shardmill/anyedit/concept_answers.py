"""The answers that the prompts about concepts ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

MAX_LISTED = 200


def _bare(word: Any) -> Any:
    return " ".join(word.replace("_", " ").strip(" .!'\"").lower().split()) if isinstance(word, str) else word


class ConceptVerdict(BaseModel):
    """What is wrong with a concept, if anything, and whether it is to be kept: exactly yes or no."""

    reason: Annotated[Literal["none", "proper noun", "not understood", "not visible", "unclear"], BeforeValidator(_bare)]
    verdict: Annotated[Literal["yes", "no"], BeforeValidator(_bare)]


class BackgroundList(BaseModel):
    """Places where a concept may be seen."""

    backgrounds: list[str] = Field(max_length=MAX_LISTED)
