"""Keep of both lists what the picture bears out, and say again what the picture shows.

python -m shardmill.antidote.check_facts --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field, model_validator

from shardmill.core.model_stages import read_detections
from shardmill.core.stage import Context, Options, Reject, Row, RowStage
from shardmill.core.stage_main import main
from shardmill.language.existence_questions import listed
from shardmill.language.named_number import names_several
from shardmill.language.nouns import fold, is_plural
from shardmill.language.object_names import form_problem
from shardmill.language.relations import as_worded


class FactOptions(Options):
    """Options of `check_facts`. What scores between the two thresholds is in doubt and dropped from either list."""

    present_above: float = Field(
        0.35, ge=0, le=1, description="minimum score of a present object (a detector's model file sets it)"
    )
    absent_below: float = Field(0.25, ge=0, le=1, description="an object below this score is absent")
    absent: tuple[str, ...] = Field(
        ("absent", "drawn_absent"), description="the list columns with the names of what should not be there"
    )
    captions: str = Field(
        "scene_caption", description="the column with the text that says whether there is a dog or there are dogs; empty: none"
    )

    @model_validator(mode="after")
    def in_order(self) -> FactOptions:
        if self.absent_below > self.present_above:
            raise ValueError("absent_below must not be above present_above")
        return self


class CheckFacts(RowStage):
    """The objects that are in the picture for sure, and those that are not for sure.

    present, absent, drawn_absent (list), detections (json), scene_caption (text) -> verified_present, verified_absent (list),
    dropped_facts (json): {name: {"list", "score", "reason"}}, verified_caption (text), a sentence naming the verified objects,
    in the number of the scene's caption, and nothing else.
    """

    name = "check_facts"
    optional = ("drawn_absent",)
    input_kinds = dict.fromkeys(("present", "absent", "drawn_absent"), "list")
    adds = {"verified_present": "list", "verified_absent": "list", "dropped_facts": "json", "verified_caption": "text"}
    Options = FactOptions
    options: FactOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = ("present", *self.options.absent, "detections", *filter(None, [self.options.captions]))

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        names = {"present": row["present"], "absent": [name for column in self.options.absent for name in row.get(column) or ()]}
        scores = dict.fromkeys(
            [*names["present"], *names["absent"]], 0.0
        )  # a name without a letter or digit was not searched for
        scores |= {name: found.score for name, found in read_detections(row["detections"]).items()}
        fit = {which: [name for name in once(listed_as) if form_problem(name) is None] for which, listed_as in names.items()}
        present = [name for name in fit["present"] if scores[name] >= self.options.present_above]
        absent = [name for name in fit["absent"] if scores[name] < self.options.absent_below]
        if not present or not absent:
            found = ", ".join(f"{name} {scores[name]:.3f}" for name in names["absent" if present else "present"])
            return Reject("no absent object left" if present else "no object verified", f"scores: {found}")
        caption = (row[self.options.captions] if self.options.captions else None) or ""
        return {
            "verified_present": present,
            "verified_absent": absent,
            "dropped_facts": self.dropped(names, scores, {*present, *absent}),
            "verified_caption": f"A picture of {listed([_in_number(caption, name) for name in present])}.",
        }

    def dropped(self, names: dict[str, list[str]], scores: dict[str, float], kept: set[str]) -> dict[str, Any]:
        """What was taken off the lists and why."""
        found = {}
        for which, listed_as in names.items():
            for name in listed_as:
                if name not in kept:
                    doubtful = self.options.absent_below <= scores[name] < self.options.present_above
                    reason = "in doubt" if doubtful else "not seen" if which == "present" else "seen"
                    reason = form_problem(name) or (reason if name in once(listed_as) else "named twice")
                    found[name] = {"list": which, "score": scores[name], "reason": reason}
        return found


def _in_number(caption: str, name: str) -> str:
    """An object as the caption words it; several where its noun does not say so."""
    worded = as_worded(caption, name)
    return f"several {worded}" if names_several(caption, name) and not is_plural(worded) else worded


def once(names: list[str]) -> list[str]:
    """The names without those that are another's plural or the same."""
    return list({fold(name): name for name in reversed(names)}.values())[::-1]


if __name__ == "__main__":
    main(CheckFacts)
