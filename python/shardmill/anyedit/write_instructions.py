"""Write the instruction of each drawn edit: by a model, by templates, or by a template around what a model wrote.

python -m shardmill.anyedit.write_instructions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template import FROM_PAIR, FROM_ROW, words_digest
from shardmill.anyedit.edit_types import EditType, edit_type
from shardmill.anyedit.instruction_answers import AnyInstruction, TextualChange
from shardmill.anyedit.instruction_prompts import accepted, details_of, instruction_call, prompts_digest, template_name
from shardmill.core.model_stages import TextStage, prompt_value
from shardmill.core.stage import Answer, ModelCall, Reject, Row
from shardmill.core.stage_main import main


class WriteInstructions(TextStage):
    """One instruction for one edit of one caption, checked by code.

    input (text), input_objects (list), edit_type (text), target (json), detections (json), width, height (int) -> edit_input,
    edit, edited_object, output, visual_input (text) and details (json): every intermediate field. `edit_input` is the caption
    before the edit: the input, or what shows the text or the crop that the edit is about. `edited_object` is null unless the edit
    is local (details name the object of any edit); `visual_input` is null: `details.condition` says which picture an editor has
    to make. `output` is null where no caption can tell the edit. A row whose instruction fails its checks after the last attempt
    is rejected with the first reason of the last answer.
    """

    name = "write_instructions"
    reads = ("input", "input_objects", "edit_type", "target", "detections", "width", "height")
    adds = {
        "edit_input": "text",
        "edit": "text",
        "edited_object": "text",
        "output": "text",
        "visual_input": "text",
        "details": "json",
    }
    prompt = template_name("add") + ".md"
    answer = AnyInstruction

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        kind = written_type(row)
        if kind is None:
            return []
        return [instruction_call(kind, row["input"], row["input_objects"] or [], row["target"] or {}, rng)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        kind = edit_type(row["edit_type"])
        if kind.writer == "template":
            made = FROM_ROW[kind.name](row, row["target"] or {}, self.rng(row, "template"))
        elif kind.writer == "pair":
            made = self.wrapped(row, kind.name, answers[0])
        elif kind.writer == "model":
            made = self.instruction(row, kind.name, answers[0])
        else:
            return Reject("edit type of another stage", f"{kind.name} is made by the stage write_implicit")
        if isinstance(made, str):
            return Reject(made)
        return self.columns_of(row, kind, made)

    def instruction(self, row: Row, kind: str, answer: Answer) -> dict[str, Any]:
        """A model-written instruction of a type, with all of its fields as details."""
        written = accepted(kind, answer.value)
        objects, target = row["input_objects"] or [], row["target"] or {}
        details = details_of(kind, written, row["input"], objects, target, prompt_value(answer, "verb"))
        made = {"edit": written.edit, "output": written.output, "edited_object": details.get("edited_object"), "details": details}
        return {**made, "edit_input": written.input} if isinstance(written, TextualChange) else made

    def wrapped(self, row: Row, kind: str, answer: Answer) -> dict[str, Any] | str:
        """A model-written removal or replacement with a template around it; details keep what the model wrote."""
        pair = accepted(row["target"]["base"], answer.value).model_dump()
        found = (row["detections"] or {}).get(row["target"]["object"]) or {}
        made = FROM_PAIR[kind]({**pair, "input": row["input"], "boxes": found.get("boxes") or []}, self.rng(row, "template"))
        if isinstance(made, str):
            return made
        base = {"base_edit": pair["edit"], "base_output": pair["output"], "verb": prompt_value(answer, "verb")}
        return {**made, "details": {**made["details"], **base}}

    def columns_of(self, row: Row, kind: EditType, made: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of an instruction, however it was made."""
        details = {**(row["target"] or {}), **made["details"], "edited_object": made["edited_object"]}
        return {
            "edit_input": made.get("edit_input") or row["input"],
            "edit": made["edit"],
            "edited_object": made["edited_object"] if kind.is_local else None,
            "output": made["output"],
            "visual_input": None,
            "details": details,
        }

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), **prompts_digest(), "template words": words_digest()}


def written_type(row: Row) -> str | None:
    """The type of the instruction that a model writes for a row: its own, or that of the pair it is built on; None without."""
    kind = edit_type(row["edit_type"])
    if kind.writer == "model":
        return kind.name
    return str(row["target"]["base"]) if kind.writer == "pair" else None


if __name__ == "__main__":
    main(WriteInstructions)
