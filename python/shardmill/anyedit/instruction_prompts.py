"""How a model is asked for an instruction of a type, and how its answer is checked: the same alone and in a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Any

from shardmill.anyedit.instruction_answers import (
    ANSWERS,
    AnyInstruction,
    Instruction,
    TextualChange,
    answer_schema,
    read_answer,
)
from shardmill.anyedit.instruction_checks import EditRequest, foreground, instruction_problem
from shardmill.anyedit.instruction_form import VERBS, quoted
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.stage import ModelCall
from shardmill.models.contract import TextRequest
from shardmill.store.cells import dump_cell
from shardmill.util.texts import cached

MAX_CHARACTERS = 1_000
"""So much of a caption is shown to the model."""

_FROM_TARGET: dict[str, tuple[str, ...]] = {
    "add": (),
    "remove": ("object",),
    "replace": ("object",),
    "color_alter": ("object", "color"),
    "appearance_alter": ("object",),
    "material_change": ("object", "material"),
    "action_change": ("object", "action"),
    "background_change": (),
    "tune_transfer": ("aspect",),
    "textual_change": ("object", "text"),
}


def template_name(kind: str) -> str:
    """The template of a type."""
    return f"anyedit/instructions/{kind}"


def instruction_call(kind: str, caption: str, objects: Sequence[str], target: Mapping[str, Any], rng: Random) -> ModelCall:
    """The call for one instruction: what the target says and a verb to begin with are values of the prompt."""
    template = load_template(template_name(kind))
    values = {name: target.get(name) for name in _FROM_TARGET[kind]}
    values |= {"caption": caption[:MAX_CHARACTERS], "verb": rng.choice(VERBS[kind])}
    request = TextRequest(Prompt(template, values), template.sampling, answer_schema(kind))
    return ModelCall(request, _check(kind, EditRequest(caption, objects, target)))


def _check(kind: str, request: EditRequest) -> Callable[[AnyInstruction], str | None]:
    def check(given: AnyInstruction) -> str | None:
        answer = read_answer(kind, given)
        return "malformed answer" if answer is None else instruction_problem(kind, answer, request)

    return check


def accepted(kind: str, given: AnyInstruction) -> Instruction:
    """The answer that has passed its check, as its type wants it."""
    answer = read_answer(kind, given)
    assert answer is not None
    return answer


def details_of(
    kind: str, answer: Instruction, caption: str, objects: Sequence[str], target: Mapping[str, Any], verb: str
) -> dict[str, Any]:
    """Every intermediate field of an instruction: what was asked for, what the model named, and what follows from it."""
    named = answer.model_dump(exclude={"edit", "output", "input"})
    details: dict[str, Any] = {**target, **named, "verb": verb}
    if kind == "background_change":
        details["foreground"] = foreground(EditRequest(caption, objects), named["original_background"])
    if isinstance(answer, TextualChange):
        details["old_text"], details["new_text"] = quoted(answer.input)[0], quoted(answer.output)[0]
    return details


@cached
def prompts_digest() -> dict[str, str]:
    """What all templates and schemas put into a stage's fingerprint."""
    templates = "".join(load_template(template_name(kind)).digest for kind in ANSWERS)
    schemas = "".join(dump_cell(answer_schema(kind)) for kind in ANSWERS)
    return {"template": sha256(templates.encode()).hexdigest(), "answer schema": sha256(schemas.encode()).hexdigest()}
