"""Concepts step 1: whether a concept is one that pictures can show and a model knows.

python -m shardmill.anyedit.judge_concepts --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.anyedit.concept_answers import ConceptVerdict
from shardmill.anyedit.concepts.clean import form_problem
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.nouns import fold
from shardmill.language.proper_names import PROPER, proper_problem


class JudgeConcepts(TextStage):
    """A verdict on a concept; only rows with "pass" come out.

    concept (text) -> concept_verdict (text). Rejected are (after AnyEdit's rules for its pool) proper nouns such as makes and
    models, what the model does not fully understand, and what cannot be shown as a thing. What its form gives away, such as
    digits, other scripts and known names, is not shown to the model. Equal concepts are asked once.
    """

    name = "judge_concepts"
    reads = ("concept",)
    adds = {"concept_verdict": "text"}
    prompt = "anyedit/judge_concepts.md"
    answer = ConceptVerdict

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if fault(row["concept"]) is not None:
            return []
        concept = " ".join(row["concept"].split())
        return [self.text_call(concept=concept, check=disagreement, share=f"concept {fold(concept)}")]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        found = fault(row["concept"])
        if found is not None:
            return Reject(f"concept judged: {found}", "by its form")
        value: ConceptVerdict = answers[0].value
        if value.verdict == "yes":
            return {"concept_verdict": "pass"}
        return Reject(f"concept judged: {value.reason}", "by the model")


def disagreement(value: ConceptVerdict) -> str | None:
    """Why a verdict is to be asked for again: it says yes and gives a fault, or no and gives none."""
    return None if (value.verdict == "yes") == (value.reason == "none") else "verdict and reason disagree"


def fault(concept: str | None) -> str | None:
    """What is wrong with a concept by its form alone; None when nothing is."""
    text = " ".join((concept or "").split())
    if proper_problem(text) is not None:
        return PROPER  # makes and models are asked for under that name
    return "unclear" if form_problem(text) is not None else None


if __name__ == "__main__":
    main(JudgeConcepts)
