"""Judge each presupposition question by itself: its form by rules, its sense by a model.

python -m shardmill.antidote.judge_questions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from shardmill.antidote.question_answers import QuestionVerdict
from shardmill.antidote.question_forms import question_problem
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Row
from shardmill.core.stage_main import main


class JudgeQuestions(TextStage):
    """A verdict for every question; whether a question of a pair is good says nothing about the other.

    asked (json), verified_caption (text), verified_present (list), verified_absent (list) -> questions (json): the entries of
    `asked` with "verdict": "pass", or the reason why the question is not to be used. A question that breaks a rule of form is
    not shown to the model; one that the model gave no usable verdict on has that problem as its verdict.
    """

    name = "judge_questions"
    reads = ("asked", "verified_caption", "verified_present", "verified_absent")
    adds = {"questions": "json"}
    prompt = "antidote/judge_questions.md"
    answer = QuestionVerdict
    tolerant = True

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [self.verdict_call(row, entry) for entry in row["asked"] if form_verdict(row, entry) is None]

    def verdict_call(self, row: Row, entry: Mapping[str, Any]) -> ModelCall:
        """The call for the verdict on one question."""
        return self.text_call(
            caption=row["verified_caption"][:2_000],
            object=entry["object"],
            present=entry["kind"] == "tpq",
            question=entry["question"],
        )

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        replies = iter(answers)
        questions = []
        for entry in row["asked"]:
            verdict = form_verdict(row, entry)
            if verdict is None:
                reply = next(replies)
                verdict = reply.problem or reply.value.verdict
                if verdict == "unanswerable" and entry["kind"] == "cpq":
                    verdict = "pass"  # nobody can tell by looking, by intention
            questions.append({**entry, "verdict": verdict})
        return {"questions": questions}


def form_verdict(row: Row, entry: Mapping[str, Any]) -> str | None:
    """The rule of form that a question breaks, None when it keeps all. The other objects of its own pair count too."""
    if entry["question"] is None:
        return f"not asked: {entry['problem']}"
    partners = [other["object"] for other in row["asked"] if other["pair"] == entry["pair"]]
    listed = row["verified_absent" if entry["kind"] == "cpq" else "verified_present"]
    if entry["object"] not in listed:
        return "object not in its list"
    return question_problem(entry["question"], entry["object"], [*partners, *row["verified_absent"]])


if __name__ == "__main__":
    main(JudgeQuestions)
