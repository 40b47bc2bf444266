"""The answers that the prompts for edit instructions ask for: one strict schema per model-written type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, field_validator

MAX_OF_NAME, MAX_OF_SENTENCE = 60, 400


def _up_to(most: int) -> Callable[[str], str]:
    """Lengths are no part of the JSON schema: not every engine with guided decoding supports them."""

    def checked(text: str) -> str:
        if not 1 <= len(text.strip()) <= most:
            raise ValueError(f"not between 1 and {most} characters")
        return text.strip()

    return checked


Name = Annotated[str, AfterValidator(_up_to(MAX_OF_NAME))]
Sentence = Annotated[str, AfterValidator(_up_to(MAX_OF_SENTENCE))]


class Instruction(BaseModel):
    """What all types share: the instruction, and the caption of the picture after it."""

    model_config = ConfigDict(extra="forbid")

    edit: Sentence
    output: Sentence


class Add(Instruction):
    """An object that was not there."""

    edited_object: Name


class Remove(Instruction):
    """An object that is gone."""

    edited_object: Name


class Replace(Instruction):
    """An object in the place of another."""

    edited_object: Name
    new_object: Name


class ColorAlter(Instruction):
    """An object in another colour."""

    edited_object: Name
    color: Name


class AppearanceAlter(Instruction):
    """An object with another appearance that is neither a colour nor a material."""

    edited_object: Name
    appearance: Name


class MaterialChange(Instruction):
    """An object made of something else."""

    edited_object: Name
    material: Name


class ActionChange(Instruction):
    """Somebody who does something else; `new_action` begins with the verb."""

    edited_object: Name
    new_action: Name


class BackgroundChange(Instruction):
    """The same things at another place; `original_background` is null where the caption gives none."""

    new_background: Name
    original_background: Name | None

    @field_validator("original_background", mode="before")
    @classmethod
    def _none_for_nothing(cls, value: Any) -> Any:
        blank = isinstance(value, str) and value.strip(" .").lower() in ("", "none", "null", "n/a", "unknown")
        return None if blank else value


class TuneTransfer(Instruction):
    """Another weather, time of day or season."""

    new_state: Name


class TextualChange(Instruction):
    """Another text in the picture; `input` is the caption before it, with the text in quotes."""

    input: Sentence


ANSWERS: dict[str, type[Instruction]] = {
    "add": Add,
    "remove": Remove,
    "replace": Replace,
    "color_alter": ColorAlter,
    "appearance_alter": AppearanceAlter,
    "material_change": MaterialChange,
    "action_change": ActionChange,
    "background_change": BackgroundChange,
    "tune_transfer": TuneTransfer,
    "textual_change": TextualChange,
}
"""The schema of each model-written type."""


def answer_schema(kind: str) -> dict[str, Any]:
    """The JSON schema of a type's answer: the edit first, the caption after it last, as the examples of its template have it."""
    schema = ANSWERS[kind].model_json_schema()
    named = [name for name in schema["properties"] if name not in ("input", "edit", "output")]
    order = [name for name in ("input", "edit", *named, "output") if name in schema["properties"]]
    return {**schema, "properties": {name: schema["properties"][name] for name in order}, "required": order}


class AnyInstruction(BaseModel):
    """An answer of any type, before it is known which: what all share, and whatever else the model gave."""

    model_config = ConfigDict(extra="allow")

    edit: str
    output: str


def read_answer(kind: str, given: AnyInstruction) -> Instruction | None:
    """The answer as its type wants it; None when a field is missing, too long or not asked for. "edited object" may be written
    with a blank, as published data has it.
    """
    fields = {name.strip().lower().replace(" ", "_"): value for name, value in given.model_dump().items()}
    if kind == "background_change":
        fields.setdefault("original_background", None)
    try:
        return ANSWERS[kind].model_validate(fields)
    except ValidationError:
        return None
