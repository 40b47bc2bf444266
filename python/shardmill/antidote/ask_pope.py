"""Ask whether things are there that are there; if wanted, also about things that are not.

python -m shardmill.antidote.ask_pope --run RUN --shard-index 3
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, Field

from shardmill.antidote.draw_objects import drawn_names
from shardmill.core.model_stages import TextStage, prompt_value
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.language.existence_questions import existence_question
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, plural

FORM = re.compile(r"^(?:Is|Are) there (?:(?:an?|any|some) )?([^?\n]{1,80}) in (?:the|this) image\?$")


class PopeOptions(Options):
    """Options of `ask_pope`."""

    per_image: int = Field(2, ge=1, description="number of questions about present objects, if there are enough")
    absent: Literal["none", "random", "popular", "adversarial"] = Field(
        "none",
        description="also ask about absent objects: random, popular, or co-occurring ones (adversarial)",
    )
    absent_per_image: int = Field(2, ge=1, description="number of questions about absent objects, if there are enough")
    objects: Literal["drawn", "random"] = Field(
        "drawn", description="drawn: those of draw_objects, whose names do not tell the answer; random: any of the verified lists"
    )
    grammar: Literal["rule", "model"] = Field(
        "rule", description="what sets articles and plurals; rules correct the model's errors"
    )


class Existence(BaseModel):
    """A question whether a thing is there."""

    question: str = Field(max_length=120)


class AskPope(TextStage):
    """Questions whether a thing is in the picture, as POPE asks (Li et al., 2023); by default only about things that are.

    verified_present, verified_absent, drawn_present, drawn_absent (list) -> pope (json): [{"object", "question", "answer": "yes"
    or "no", "draw"}].
    """

    name = "ask_pope"
    optional = ("drawn_present", "drawn_absent")
    input_kinds = dict.fromkeys(optional, "list")
    adds = {"pope": "json"}
    prompt = "antidote/ask_pope.md"
    answer = Existence
    tolerant = True
    Options = PopeOptions
    options: PopeOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        drawn = ("drawn_present", "drawn_absent") if self.is_drawn else ()
        self.reads = ("verified_present", "verified_absent", *drawn)

    @property
    def is_drawn(self) -> bool:
        """Whether only drawn objects are asked about: where no absent ones are, all answers are the same anyway."""
        return self.options.objects == "drawn" and self.options.absent != "none"

    def candidates(self, row: Row, which: Literal["present", "absent"]) -> list[str]:
        """The objects that may be asked about."""
        names: list[str] = row[f"verified_{which}"]
        drawn = drawn_names(row, which) if self.is_drawn else None
        if drawn is not None:
            return [name for name in drawn if name in names]
        rng = Random(f"{self.context.seed} {self.seed_label} {row['row_id']} {which}")
        return rng.sample(names, len(names))

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if self.options.grammar == "rule":
            return []
        return [self.text_call(object=name, share=f"pope {name}", check=_check(name)) for name, _, _ in self.chosen(row)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        worded = {prompt_value(each, "object"): each.value.question for each in answers if each.problem is None}
        return {
            "pope": [
                {"object": name, "question": worded.get(name) or existence_question(name), "answer": truth, "draw": draw}
                for name, truth, draw in self.chosen(row)
            ]
        }

    def chosen(self, row: Row) -> list[tuple[str, str, str]]:
        """The objects to ask about, each with the right answer and how it was drawn."""
        there, missing = self.candidates(row, "present"), self.candidates(row, "absent")
        if self.is_drawn and drawn_names(row, "present") is not None:  # as many of each as both have
            there, missing = there[: len(missing)], missing[: len(there)]
        found = [(name, "yes", "present") for name in there[: self.options.per_image]]
        if self.options.absent != "none":
            absent = missing
            if self.options.absent == "popular":
                absent.sort(key=_scenes_of, reverse=True)
            elif self.options.absent == "adversarial":
                absent.sort(key=lambda name: _shared_scenes(name, row["verified_present"]), reverse=True)
            found += [(name, "no", self.options.absent) for name in absent[: self.options.absent_per_image]]
        return found


def _check(name: str) -> Any:
    def check(answer: Existence) -> str | None:
        found = FORM.match(answer.question)
        named = found[1].lower() if found else ""
        return None if named in (name.lower(), plural(name.lower()), fold(name)) else "not the question that was asked for"

    return check


def _scenes_of(name: str) -> int:
    entry = lexicon().find(name)
    return len(entry.scenes) if entry else 0


def _shared_scenes(name: str, present: list[str]) -> int:
    entry = lexicon().find(name)
    others = [other for each in present if (other := lexicon().find(each))]
    return sum(len({*entry.scenes} & {*other.scenes}) for other in others) if entry else 0


if __name__ == "__main__":
    main(AskPope)
