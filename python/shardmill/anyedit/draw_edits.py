"""Draw which edits a caption is to get: different types that apply to it, each with its target.

python -m shardmill.anyedit.draw_edits --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from shardmill.anyedit.edit_targets import Target, settled, targets
from shardmill.anyedit.edit_types import DRAWN, TYPES, chosen_types, type_name
from shardmill.core.stage import Options, Reject, Row, RowStage
from shardmill.core.stage_main import main

Types = Annotated[tuple[str, ...], AfterValidator(lambda names: chosen_types(names, DRAWN))]


class DrawOptions(Options):
    """Options of `draw_edits`."""

    edits: int = Field(
        4, ge=1, le=len(DRAWN), description="edits per caption, each of another type; fewer when fewer types apply"
    )
    types: Types = Field(
        DRAWN, description="edit types to draw from, as [add, remove]; implicit changes have a stage of their own, write_implicit"
    )
    weights: dict[str, float] = Field(
        {},
        description="how readily a type is drawn where it applies, as {add: 0.5}; 0 never; without it common types have 1 and "
        "those that few captions allow more",
    )

    @field_validator("weights")
    @classmethod
    def _of_known_types(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= weight <= 1_000 for weight in weights.values()):
            raise ValueError("weights are from 0 to 1000")
        return {type_name(name): weight for name, weight in weights.items()}


class DrawEdits(RowStage):
    """Different edit types for a caption, with what each is to be applied to.

    input (text), input_objects, input_verbs, input_texts (lists), detections (json), width, height (int) -> sub_id (int, the
    number of the edit), edit_type (text), target (json: "object", "color", "text" …, what the type needs). Types that apply to
    few captions are drawn first where they do, so that they are not starved. A caption that no type applies to is rejected.
    """

    name = "draw_edits"
    reads = ("input", "input_objects", "input_verbs", "input_texts", "detections", "width", "height")
    adds = {"sub_id": "int", "edit_type": "text", "target": "json"}
    Options = DrawOptions
    options: DrawOptions

    def decide(self, row: Row, rng: Random) -> list[dict[str, Any]] | Reject:
        possible = {kind: found for kind in self.options.types if self.weight(kind) > 0 and (found := targets(row, kind))}
        if not possible:
            return Reject("no edit type applies")
        drawn = self.draw(possible, row, rng)
        return [{"sub_id": at, "edit_type": kind, "target": target} for at, (kind, target) in enumerate(drawn)]

    def weight(self, kind: str) -> float:
        """How readily a type is drawn where it applies."""
        return self.options.weights.get(kind, TYPES[kind].weight)

    def draw(self, possible: dict[str, list[Target]], row: Row, rng: Random) -> list[tuple[str, Target]]:
        """Types by weight without replacement, each with one of its targets."""
        kinds = sorted(possible)
        drawn: list[tuple[str, Target]] = []
        while kinds and len(drawn) < self.options.edits:
            kind = rng.choices(kinds, [self.weight(each) for each in kinds])[0]
            kinds.remove(kind)
            drawn.append((kind, settled(kind, rng.choice(possible[kind]), row, rng)))
        return drawn


if __name__ == "__main__":
    main(DrawEdits)
