"""Have a model judge each model-written instruction: is it of its type, clear, possible, and does the output caption show it?

python -m shardmill.anyedit.judge_instructions --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

from shardmill.anyedit.edit_types import TYPES, edit_type
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Reject, Row
from shardmill.core.stage_main import main

BY_CODE = "checked by code"


def _bare(word: Any) -> Any:
    return word.strip(" .!'\"").replace("_", " ") if isinstance(word, str) else word


class InstructionVerdict(BaseModel):
    """Whether an instruction is good, or the first thing that is wrong with it."""

    verdict: Annotated[
        Literal["pass", "other type", "vague", "impossible", "output wrong", "bad English"], BeforeValidator(_bare)
    ]


class JudgeInstructions(TextStage):
    """The model's check of what a model wrote; what templates made has been checked by code.

    edit_type, edit_input, edit, output (text), details (json) -> instruction_verdict (text): "pass" or "checked by code". Of an
    instruction that wraps a removal or a replacement, that one is judged. All others are rejected with the verdict.
    """

    name = "judge_instructions"
    reads = ("edit_type", "edit_input", "edit", "output", "details")
    adds = {"instruction_verdict": "text"}
    prompt = "anyedit/judge_instructions.md"
    answer = InstructionVerdict

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        kind = edit_type(row["edit_type"])
        if kind.writer == "model":
            return [self.verdict_call(kind.human, row["edit_input"], row["edit"], row["output"])]
        if kind.writer == "pair":
            base, details = TYPES[row["details"]["base"]], row["details"]
            return [self.verdict_call(base.human, row["edit_input"], details["base_edit"], details["base_output"])]
        return []

    def verdict_call(self, kind: str, caption: str, edit: str, output: str) -> ModelCall:
        """The call for the verdict on one instruction."""
        return self.text_call(type=kind, input=caption, edit=edit, output=output)

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return {"instruction_verdict": BY_CODE}
        verdict = answers[0].value.verdict
        return {"instruction_verdict": verdict} if verdict == "pass" else Reject(f"judged: {verdict}")


if __name__ == "__main__":
    main(JudgeInstructions)
