"""The answers that NegBench's prompts ask for."""

from __future__ import annotations

from pydantic import BaseModel


class ObjectList(BaseModel):
    """Names of objects."""

    objects: list[str]


class NewCaption(BaseModel):
    """One sentence."""

    caption: str
