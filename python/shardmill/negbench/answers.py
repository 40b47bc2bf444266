"""The answers that NegBench's prompts ask for, and the questions that stages hand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel


class ObjectList(BaseModel):
    """Names of objects."""

    objects: list[str]


class NamedAndMissing(BaseModel):
    """Names of the objects in a caption, and of others that would fit."""

    objects: list[str] = []
    missing: list[str] = []


class NewCaption(BaseModel):
    """One sentence."""

    caption: str


def question_names(questions: Iterable[Mapping[str, Any]]) -> list[str]:
    """The objects that drawn questions are about."""
    return [name for question in questions for name in question["objects"]]
