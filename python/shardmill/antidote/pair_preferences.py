"""Make a preference pair of the two answers to a question, if the better one is really the better one.

python -m shardmill.antidote.pair_preferences --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import Field

from shardmill.language.declining import declines, says_yes
from shardmill.language.likeness import cosine, vectors
from shardmill.stage import Options, Reject, Row, RowStage
from shardmill.standalone import main


class PairOptions(Options):
    """Options of `pair_preferences`."""

    most_alike: float = Field(0.9, ge=0, le=1, description="answers whose cosine is above this teach nothing and are dropped")


class PairPreferences(RowStage):
    """The preferred answer to a question and the rejected one.

    query_kind, query_object, preferred, answer, answer_hint, answer_problem (text), hint_is_true (bool) -> response,
    rejected_response (text), answers_alike (float, their cosine). A CPQ's preferred answer must decline, that to a TPQ must not,
    and that to a POPE question must be the right word.
    """

    name = "antidote.pair_preferences"
    reads = ("query_kind", "query_object", "preferred", "hint_is_true", "answer", "answer_hint", "answer_problem")
    adds = {"response": "text", "rejected_response": "text", "answers_alike": "float"}
    Options = PairOptions
    options: PairOptions

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        if row["answer_problem"]:
            return Reject("not answered", row["answer_problem"])
        hint_wins = row["preferred"] == "hint"
        best, worst = (row["answer_hint"], row["answer"]) if hint_wins else (row["answer"], row["answer_hint"])
        fault = _fault(row["query_kind"], row["query_object"] or "", row["hint_is_true"], best)
        if fault is not None:
            return Reject(fault, best[:400])
        alike = round(float(cosine(*vectors([best, worst]))), 4)
        if alike > self.options.most_alike:
            return Reject("answers too alike", f"cosine {alike}")
        return {"response": best, "rejected_response": worst, "answers_alike": alike}


def _fault(kind: str, name: str, absent: bool, best: str) -> str | None:
    """Why an answer that is to be preferred is not a good one."""
    if kind == "cpq" and not declines(best, name):
        return "the preferred answer does not decline"
    if kind == "tpq" and declines(best, name):
        return "the preferred answer declines"
    if kind == "pope" and says_yes(best, name) is not (not absent):
        return "the preferred answer is not right"
    return None


if __name__ == "__main__":
    main(PairPreferences)
