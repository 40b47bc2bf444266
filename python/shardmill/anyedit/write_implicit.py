"""Write implicit edits: a scene, what happens to it, and what it looks like then.

python -m shardmill.anyedit.write_implicit --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Literal

from pydantic import Field

from shardmill.anyedit.implicit_edits import (
    ImplicitEdits,
    keys_of,
    sample_problem,
    seeds,
    seeds_digest,
    tidied,
    usable_topic,
)
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, Context, FollowUp, ModelCall, Options, Row
from shardmill.core.stage_main import main

MAX_TOPIC = 400


class ImplicitOptions(Options):
    """Options of `write_implicit`."""

    share: float = Field(0.2, ge=0, le=1, description="share of the rows that get implicit edits; the others have none")
    wanted: int = Field(3, ge=1, le=20, description="distinct implicit edits per row")
    rounds: int = Field(3, ge=1, le=10, description="maximum attempts per row")
    topic: Literal["concept", "caption"] = Field("concept", description="the column that says what the scenes are about")


class WriteImplicit(TextStage):
    """Edits that are not told but follow from how the world works: "What if it freezes tonight?".

    concept or caption (text) -> implicit (json): [{"original_caption", "instruction", "target_caption", "key_words"}], [] for
    rows that are not drawn. Two or three of the product's examples are shown, others in each round; a row is asked again, told
    what it has, until it has enough or its rounds are used up. No two share their scene and question, or their scene and outcome.
    """

    name = "write_implicit"
    adds = {"implicit": "json"}
    prompt = "anyedit/write_implicit.md"
    answer = ImplicitEdits
    tolerant = True
    Options = ImplicitOptions
    options: ImplicitOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = (self.options.topic,)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), "examples": seeds_digest()}

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        drawn = self.rng(row, "share").random() < self.options.share
        return [self._round(row, 0, [])] if drawn and usable_topic(self._topic(row), self._whole) else []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | FollowUp:
        found = self._samples(row, answers)
        if answers and len(found) < self.options.wanted and len(answers) < self.options.rounds:
            return FollowUp([self._round(row, len(answers), found)])
        return {"implicit": found}

    @property
    def _whole(self) -> bool:
        return self.options.topic == "caption"

    def _topic(self, row: Row) -> str:
        return " ".join((row[self.options.topic] or "").split())[:MAX_TOPIC]

    def _round(self, row: Row, number: int, found: list[dict[str, Any]]) -> ModelCall:
        """The call of a round, with examples of its own."""
        rng = self.rng(row, "examples", number)
        shown = rng.sample(seeds(), rng.choice((2, 3)))
        return self.text_call(
            topic=self._topic(row),
            examples=[dict(seed) for seed in shown],
            found=[sample["instruction"] for sample in found],
            count=self.options.wanted - len(found),
            check=lambda answer: self._problem(row, answer),
        )

    def _problem(self, row: Row, answer: ImplicitEdits) -> str | None:
        """What is wrong with the first sample when all of them are wrong."""
        problems = [sample_problem(tidied(sample), self._topic(row), self._whole) for sample in answer.samples]
        return None if None in problems else problems[0]

    def _samples(self, row: Row, answers: Iterable[Answer]) -> list[dict[str, Any]]:
        """The usable samples of all answers, each once, as many as are wanted."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        for answer in answers:
            for sample in map(tidied, answer.value.samples if answer.problem is None else ()):
                keys = keys_of(sample)
                if seen.isdisjoint(keys) and sample_problem(sample, self._topic(row), self._whole) is None:
                    seen.update(keys)
                    found.append(sample)
        return found[: self.options.wanted]


if __name__ == "__main__":
    main(WriteImplicit)
