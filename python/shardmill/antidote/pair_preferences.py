"""Make a preference pair of the two answers to a question, if the better one is really the better one.

python -m shardmill.antidote.pair_preferences --run RUN --shard-index 3
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

from pydantic import Field

from shardmill.antidote.answer_checks import affirms, declines, says_yes
from shardmill.core.stage import Options, Reject, Row, RowStage
from shardmill.core.stage_main import main
from shardmill.language.relations import mentions
from shardmill.language.similarity import cosine, vectors

NOT_RIGHT = "the preferred answer is not right"
SPEAKS_OF_HINT = re.compile(r"\bhints?\b|\b(?:as (?:stated|mentioned|given)|according to)\b|^\W*(?:I'?m )?sorry\b", re.IGNORECASE)


class PairOptions(Options):
    """Options of `pair_preferences`."""

    most_alike: float = Field(0.9, ge=0, le=1, description="drop pairs whose answers have a higher cosine: they teach nothing")


class PairPreferences(RowStage):
    """The preferred answer to a question and the rejected one.

    query_kind, query_object, preferred, answer, answer_hint, answer_problem (text), hint_is_true (bool), verified_absent (list)
    -> response, rejected_response (text), answers_alike (float, their cosine). A CPQ's preferred answer must decline, that to a
    TPQ must not, that to a POPE question must be the right word, and a description must name nothing that is not there, nor
    list that as its hint does; the rejected answer must not be right too.
    """

    name = "pair_preferences"
    reads = (
        "query_kind", "query_object", "preferred", "hint_is_true", "answer", "answer_hint", "answer_problem", "verified_absent",
    )  # fmt: skip
    adds = {"response": "text", "rejected_response": "text", "answers_alike": "float"}
    Options = PairOptions
    options: PairOptions

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        if row["answer_problem"]:
            return Reject("not answered", row["answer_problem"])
        hint_wins = row["preferred"] == "hint"
        best, worst = (row["answer_hint"], row["answer"]) if hint_wins else (row["answer"], row["answer_hint"])
        if (fault := _fault(row, best)) is not None:
            return Reject(fault, best[:400])
        alike = round(float(cosine(*vectors([best, worst]))), 4)
        if alike > self.options.most_alike:
            return Reject("answers too similar", f"cosine {alike}")
        if row["query_kind"] != "desc" and _fault(row, worst) is None:
            return Reject("both answers are right", worst[:400])
        return {"response": best, "rejected_response": worst, "answers_alike": alike}


def _fault(row: Row, answer: str) -> str | None:
    """Why an answer is not a good one to its question."""
    kind, name = row["query_kind"], row["query_object"] or ""
    if kind == "cpq":
        return None if declines(answer, name) else "the preferred answer does not decline"
    if kind == "tpq":
        return "the preferred answer declines" if declines(answer, name) else None
    if kind == "pope":
        return None if says_yes(answer, name) is not row["hint_is_true"] and says_yes(answer, name) is not None else NOT_RIGHT
    if declines(answer) or SPEAKS_OF_HINT.search(answer):
        return "the preferred answer is not a description"
    if any(affirms(answer, each) for each in row["verified_absent"]):
        return "the preferred answer names what is not there"
    denied = sum(bool(mentions(answer, each)) for each in row["verified_absent"])
    return "the preferred answer lists what is not there" if denied > 1 else None  # as its hint does; nobody describes so


if __name__ == "__main__":
    main(PairPreferences)
