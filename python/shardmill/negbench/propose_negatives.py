"""Step 2: objects that would fit the scene of a caption but are not in it.

python -m shardmill.negbench.propose_negatives --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.implied import is_implied
from shardmill.language.noun_phrases import denied_objects
from shardmill.language.nouns import fold
from shardmill.language.object_names import distinct, form_problem, negative_problem
from shardmill.negbench.answers import ObjectList


class ProposeOptions(Options):
    """Options of `propose_negatives`."""

    count: int = Field(5, ge=1, description="negatives wanted per caption")
    at_least: int = Field(2, ge=1, description="fewer usable ones than this are asked for again")


class ProposeNegatives(TextStage):
    """Plausible objects that a caption does not name.

    caption (text), objects (list) -> negatives (list): first those that the caption itself says are absent. None is an object of
    the caption, a synonym, a kind, a superclass or a part of one, or comes with one, and no other is named in it. The model is
    asked only where `extract_objects` got too few usable proposals (list), or none.
    """

    name = "propose_negatives"
    reads = ("caption", "objects", "proposals")
    optional = ("proposals",)
    adds = {"negatives": "list"}
    prompt = "negbench/propose_negatives.md"
    answer = ObjectList
    Options = ProposeOptions
    options: ProposeOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if len(self.usable(row, self.proposed(row))) >= self.options.at_least:
            return []

        def check(answer: ObjectList) -> str | None:
            usable = len(self.usable(row, answer.objects))
            return None if usable >= self.options.at_least else "too few negatives"

        return [self.text_call(caption=row["caption"][:2_000], objects=row["objects"], count=self.options.count, check=check)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        offered = answers[0].value.objects if answers else self.proposed(row)
        return {"negatives": self.usable(row, offered)[: self.options.count]}

    def proposed(self, row: Row) -> list[str]:
        """What was proposed when the objects were asked for."""
        return row.get("proposals") or []

    def usable(self, row: Row, offered: list[str]) -> list[str]:
        """The names that keep the rules."""
        denied, objects = denied_objects(row["caption"]), [fold(name) for name in row["objects"]]
        possible = [name for name in offered if not any(is_implied(fold(name), other) for other in objects)]
        return [
            name
            for name in distinct([*denied, *possible])
            if form_problem(name) is None and negative_problem(name, row["objects"], row["caption"]) is None
        ]


if __name__ == "__main__":
    main(ProposeNegatives)
