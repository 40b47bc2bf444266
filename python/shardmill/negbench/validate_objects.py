"""Step 5: the lists that captions and questions are made of: only names of visible objects, and no contradiction between them.

python -m shardmill.negbench.validate_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.object_names import distinct, form_problem, negative_problem
from shardmill.negbench.answers import ObjectList, question_names


class ValidateObjects(TextStage):
    """Names that are fit to be stated as present or absent.

    caption (text), seen_objects (list), unseen_negatives (list), confirmed_questions (json) -> positive_objects (list),
    negative_objects (list), dropped_objects (json): {name: reason}, and valid_questions (json). Form, doubles and contradictions
    are decided by code; the model is asked only for names that the lexicon does not know, all of a row at once.
    """

    name = "validate_objects"
    reads = ("caption", "seen_objects", "unseen_negatives", "confirmed_questions")
    adds = {"positive_objects": "list", "negative_objects": "list", "dropped_objects": "json", "valid_questions": "json"}
    prompt = "negbench/validate_objects.md"
    answer = ObjectList

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        doubtful = self.doubtful(row)
        return [self.text_call(caption=row["caption"][:2_000], objects=doubtful)] if doubtful else []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        dropped: dict[str, str] = {}
        doubtful = {fold(name) for name in self.doubtful(row)}
        confirmed = {fold(name) for answer in answers for name in answer.value.objects}

        def usable(names: list[str]) -> list[str]:
            for name in names:
                problem = form_problem(name)
                if problem is None and fold(name) in doubtful - confirmed:
                    problem = "not a visible object"
                if problem is not None:
                    dropped[name] = problem
            return distinct(name for name in names if name not in dropped)

        positives = usable(row["seen_objects"])
        negatives = []
        for name in usable(row["unseen_negatives"]):
            reason = negative_problem(name, positives, row["caption"])
            if reason is None:
                negatives.append(name)
            else:
                dropped[name] = reason
        if not positives or not negatives:
            what = "positive" if not positives else "negative"
            return Reject(f"no valid {what}", "; ".join(f"{name}: {reason}" for name, reason in dropped.items()))
        questions = [each for each in row["confirmed_questions"] if len(usable(each["objects"])) == len(each["objects"])]
        lists = {"positive_objects": positives, "negative_objects": negatives}
        return {**lists, "dropped_objects": dropped, "valid_questions": questions}

    def doubtful(self, row: Row) -> list[str]:
        """Well-formed names of the lists and questions that the lexicon does not know."""
        known = lexicon()
        return [
            name
            for name in distinct([*row["seen_objects"], *row["unseen_negatives"], *question_names(row["confirmed_questions"])])
            if form_problem(name) is None and known.find(name) is None
        ]


if __name__ == "__main__":
    main(ValidateObjects)
