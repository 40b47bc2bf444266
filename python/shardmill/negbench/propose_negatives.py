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
from shardmill.language.noun_phrases import denied_objects
from shardmill.language.object_names import distinct, form_problem, negative_problem
from shardmill.negbench.answers import ObjectList


class ProposeOptions(Options):
    """Options of `propose_negatives`."""

    count: int = Field(5, ge=1, description="negatives wanted per caption")
    at_least: int = Field(2, ge=1, description="fewer usable ones than this are asked for again")


class ProposeNegatives(TextStage):
    """Plausible objects that a caption does not name.

    caption (text), objects (list) -> negatives (list): first those that the caption itself says are absent. None is an object of
    the caption, a synonym, a kind, a superclass or a part of one, and no other is named in it.
    """

    name = "propose_negatives"
    reads = ("caption", "objects")
    adds = {"negatives": "list"}
    prompt = "negbench/propose_negatives.md"
    answer = ObjectList
    Options = ProposeOptions
    options: ProposeOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        def check(answer: ObjectList) -> str | None:
            usable = len(self.usable(row, answer))
            return None if usable >= self.options.at_least else "too few negatives"

        return [self.text_call(caption=row["caption"][:2_000], objects=row["objects"], count=self.options.count, check=check)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        return {"negatives": self.usable(row, answers[0].value)[: self.options.count]}

    def usable(self, row: Row, answer: ObjectList) -> list[str]:
        """The names of an answer that keep the rules."""
        return [
            name
            for name in distinct([*denied_objects(row["caption"]), *answer.objects])
            if form_problem(name) is None and negative_problem(name, row["objects"], row["caption"]) is None
        ]


if __name__ == "__main__":
    main(ProposeNegatives)
