"""Ask questions that take an object for granted: one that the picture shows, and one that it does not.

python -m shardmill.antidote.ask_presuppositions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Literal

from pydantic import Field

from shardmill.antidote.draw_objects import drawn_names
from shardmill.antidote.question_answers import QuestionPair
from shardmill.antidote.question_forms import object_problem, question_problem, shared_forms
from shardmill.core.model_stages import TextStage, prompt_value
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import distinct


class AskOptions(Options):
    """Options of `ask_presuppositions`."""

    pairs: int = Field(
        1, ge=1, description="question pairs per image, each about two further objects; fewer when a list is shorter"
    )
    objects: Literal["drawn", "random", "first"] = Field(
        "drawn",
        description="drawn: those of draw_objects, whose names do not tell the kind of question; random: any of the verified "
        "lists; first: from their start, where the most likely are",
    )


class AskPresuppositions(TextStage):
    """Pairs of questions: a CPQ asks about an absent object as if it were there, a TPQ asks the same of a present one.

    verified_caption (text), verified_present, verified_absent, drawn_present, drawn_absent (list) -> asked (json): [{"kind":
    "cpq" or "tpq", "object", "question", "form", "pair"}]; where a pair did not come out, its questions are null and "problem"
    says why. Both questions of a pair have the same form, so that the form tells nothing about the kind.
    (Wu et al., Antidote, CVPR 2025, section 3.2, with the prompt's rules checked by code.)
    """

    name = "ask_presuppositions"
    optional = ("drawn_present", "drawn_absent")
    input_kinds = dict.fromkeys(optional, "list")
    adds = {"asked": "json"}
    prompt = "antidote/ask_presuppositions.md"
    answer = QuestionPair
    tolerant = True
    Options = AskOptions
    options: AskOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        drawn = ("drawn_present", "drawn_absent") if self.options.objects == "drawn" else ()
        self.reads = ("verified_caption", "verified_present", "verified_absent", *drawn)

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [self.pair_call(row, present, absent, rng) for present, absent in self.draws(row, rng)]

    def pair_call(self, row: Row, present: str, absent: str, rng: Random) -> ModelCall:
        """The call for the two questions of a pair."""
        forms = shared_forms(present, absent)
        return self.text_call(
            caption=row["verified_caption"][:2_000],
            present_object=present,
            absent_object=absent,
            form=rng.choices(list(forms), list(forms.values()))[0],
            check=lambda answer: pair_problem(answer, present, absent, row["verified_absent"]),
        )

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        asked = []
        for pair, answer in enumerate(answers):
            for kind, which in (("cpq", "absent"), ("tpq", "present")):
                entry = {
                    "kind": kind,
                    "object": prompt_value(answer, f"{which}_object"),
                    "question": None,
                    "form": prompt_value(answer, "form"),
                    "pair": pair,
                }
                if answer.problem is None:
                    asked.append({**entry, "question": getattr(answer.value, f"{which}_question").strip()})
                else:
                    asked.append({**entry, "problem": answer.problem})
        return {"asked": asked}

    def draws(self, row: Row, rng: Random) -> list[tuple[str, str]]:
        """(present, absent) of each pair, no object twice."""
        lists = []
        sides: tuple[Literal["present", "absent"], ...] = ("present", "absent")
        for which in sides:
            names = [name for name in distinct(row[f"verified_{which}"]) if object_problem(name) is None]
            drawn = drawn_names(row, which) if self.options.objects == "drawn" else None
            if drawn is not None:
                lists.append([name for name in drawn if name in names])
            else:
                lists.append(names if self.options.objects == "first" else rng.sample(names, len(names)))
        return list(zip(*lists, strict=False))[: self.options.pairs]


def pair_problem(answer: QuestionPair, present: str, absent: str, all_absent: list[str]) -> str | None:
    """Why a pair of questions is not what was asked for; None when it is."""
    of_absent = question_problem(answer.absent_question, absent, [present, *all_absent])
    return of_absent or question_problem(answer.present_question, present, [absent, *all_absent])


if __name__ == "__main__":
    main(AskPresuppositions)
