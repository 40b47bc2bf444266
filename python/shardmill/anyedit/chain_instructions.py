"""Write chains of instructions for one picture: each turn edits what the turn before has left.

python -m shardmill.anyedit.chain_instructions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shardmill.anyedit.by_template import words_digest
from shardmill.anyedit.edit_targets import Target, settled, targets
from shardmill.anyedit.edit_types import CHAINED, chosen_types
from shardmill.anyedit.instruction_answers import AnyInstruction
from shardmill.anyedit.instruction_prompts import accepted, details_of, instruction_call, prompts_digest, template_name
from shardmill.core.model_stages import TextStage, prompt_value
from shardmill.core.stage import Answer, FollowUp, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.language.actions import actions
from shardmill.language.noun_phrases import extract_objects

MIN_TURNS = 2
LAST_ONLY = "tune_transfer"
"""The whole picture changes by it, so nothing comes after it."""
TRIES = 3
"""How many types are tried for a turn before the chain ends."""

Types = Annotated[tuple[str, ...], AfterValidator(lambda names: chosen_types(names, CHAINED))]


class ChainOptions(Options):
    """Options of `chain_instructions`."""

    turns: int = Field(
        3, ge=MIN_TURNS, le=len(CHAINED), description="turns per chain, each of a different type; fewer where some fail"
    )
    share: float = Field(0.25, ge=0, le=1, description="share of the captions that get a chain")
    types: Types = Field(CHAINED, description="edit types to draw from, as [add, remove]; tune_transfer comes last only")


@dataclass
class Chain:
    """A chain as far as it has come: its turns, and the types that failed in the present one."""

    row: Row
    turns: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    reason: str = ""
    """Why the last try failed."""

    @property
    def caption(self) -> str:
        """What the picture shows now."""
        return str(self.turns[-1]["output"]) if self.turns else str(self.row["input"])

    @property
    def state(self) -> dict[str, Any]:
        """The row of the picture as it is now, for what reads rows."""
        if not self.turns:
            return {**self.row, "input_texts": []}
        verbs = [action.verb for action in actions(self.caption)]
        return {"input": self.caption, "input_objects": extract_objects(self.caption), "input_verbs": verbs, "input_texts": []}


@dataclass(frozen=True)
class ChainStep:
    """What is asked next: the type, its target, and where in the chain."""

    kind: str
    target: Target
    state: Mapping[str, Any]
    position: tuple[int, int]


class ChainInstructions(TextStage):
    """A chain of edits of one picture: the input of each turn is the output of the one before.

    input (text), input_objects, input_verbs (lists) -> chain (json): [{"turn", "edit_type", "input", "edit", "edited_object",
    "output", "details"}], at least two or none; chain_note (text): how many turns, and why not more. No type comes twice, and
    tune_transfer only in the last turn. A turn that fails its checks is tried with other types; if all fail, the chain ends with
    what it has.
    """

    name = "chain_instructions"
    reads = ("input", "input_objects", "input_verbs")
    adds = {"chain": "json", "chain_note": "text"}
    prompt = template_name("add") + ".md"
    answer = AnyInstruction
    tolerant = True
    Options = ChainOptions
    options: ChainOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if not self.drawn(row):
            return []
        step = self.next_step(Chain(row))
        return [] if step is None else [self.step_call(row, step)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | FollowUp:
        if not self.drawn(row):
            return {"chain": [], "chain_note": "not drawn"}
        chain = Chain(row)
        for answer in answers:
            step = self.next_step(chain)
            assert step is not None
            self.take(chain, step, answer)
        step = self.next_step(chain)
        if step is not None:
            return FollowUp([self.step_call(row, step)])
        kept = chain.turns if len(chain.turns) >= MIN_TURNS else []
        return {"chain": kept, "chain_note": self.note(chain)}

    def drawn(self, row: Row) -> bool:
        """Whether a caption gets a chain."""
        return self.rng(row, "share").random() < self.options.share

    def next_step(self, chain: Chain) -> ChainStep | None:
        """What is asked after what the chain has; None at its end. The same for the same row and answers."""
        turn, last = len(chain.turns), len(chain.turns) == self.options.turns - 1
        if turn == self.options.turns or len(chain.failed) >= TRIES:
            return None
        used = {each["edit_type"] for each in chain.turns} | set(chain.failed)
        state = chain.state
        kinds = [kind for kind in self.options.types if kind not in used and (last or kind != LAST_ONLY)]
        possible = {kind: found for kind in kinds if (found := targets(state, kind))}
        if not possible:
            chain.reason = chain.reason or "no other type applies"
            return None
        position = (turn, len(chain.failed))
        rng = self.rng(chain.row, "draw", *position)
        kind = rng.choice(sorted(possible))
        return ChainStep(kind, settled(kind, rng.choice(possible[kind]), state, rng), state, position)

    def step_call(self, row: Row, step: ChainStep) -> ModelCall:
        """The call for a turn."""
        rng = self.rng(row, "ask", *step.position)
        return instruction_call(step.kind, step.state["input"], step.state["input_objects"] or [], step.target, rng)

    def take(self, chain: Chain, step: ChainStep, answer: Answer) -> None:
        """The chain with one answer more: a turn, or a type that failed."""
        if answer.problem is not None:
            chain.failed.append(step.kind)
            chain.reason = f"{step.kind}: {answer.problem}"
            return
        written = accepted(step.kind, answer.value)
        objects = step.state["input_objects"] or []
        details = details_of(step.kind, written, chain.caption, objects, step.target, prompt_value(answer, "verb"))
        turn = {
            "turn": len(chain.turns) + 1,
            "edit_type": step.kind,
            "input": chain.caption,
            "edit": written.edit,
            "edited_object": details.get("edited_object"),
            "output": written.output,
            "details": details,
        }
        chain.turns.append(turn)
        chain.failed, chain.reason = [], ""

    def note(self, chain: Chain) -> str:
        """How far a chain has come, and what ended it."""
        count = len(chain.turns)
        told = f"{count} turn{'' if count == 1 else 's'}"
        return told if count == self.options.turns else f"{told}; {chain.reason}"

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), **prompts_digest(), "template words": words_digest()}


if __name__ == "__main__":
    main(ChainInstructions)
