"""Put each question to a vision-language model twice: plainly, and with its hint.

python -m shardmill.antidote.answer_queries --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import Field

from shardmill.antidote.hints import queries_of
from shardmill.core.model_stages import CaptionStage
from shardmill.core.stage import Answer, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.models.contract import Sampling
from shardmill.store.layout import generated_image_path


class AnswerOptions(Options):
    """Options of `answer_queries`."""

    max_tokens: int = Field(256, ge=1, description="longest answer, in the model's tokens")


class AnswerQueries(CaptionStage):
    """One row for each question about a picture, with the two answers; greedy, so that only the hint makes them differ.

    generated_image (text), questions, pope, description (json), verified_present, verified_absent (list) -> sub_id (int),
    query_kind, query_object, query, query_hint (text), hint_is_true (bool), preferred ("hint" or "plain"), answer, answer_hint,
    answer_problem (text, why one of the answers is missing). A picture of which no question is answered is rejected.
    """

    name = "answer_queries"
    reads = ("generated_image", "questions", "pope", "description", "verified_present", "verified_absent")
    adds = {
        "sub_id": "int", "query_kind": "text", "query_object": "text", "query": "text", "query_hint": "text",
        "hint_is_true": "bool", "preferred": "text", "answer": "text", "answer_hint": "text", "answer_problem": "text",
    }  # fmt: skip
    Options = AnswerOptions
    options: AnswerOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        image = generated_image_path(self.context.run_folder, row["generated_image"])
        how = Sampling(max_tokens=self.options.max_tokens)
        texts = [text for query in queries_of(row) for text in (query.text, query.text_hint)]
        return [self.caption_call(image, text, how, _empty) for text in texts]

    def accept(self, row: Row, answers: list[Answer]) -> list[dict[str, Any]]:
        rows = []
        for index, query in enumerate(queries_of(row)):
            plain, hinted = answers[2 * index : 2 * index + 2]
            rows.append(
                {
                    "sub_id": index,
                    "query_kind": query.kind,
                    "query_object": query.object,
                    "query": query.text,
                    "query_hint": query.text_hint,
                    "hint_is_true": query.hint_is_true,
                    "preferred": query.preferred,
                    "answer": plain.value,
                    "answer_hint": hinted.value,
                    "answer_problem": plain.problem or hinted.problem,
                }
            )
        return rows


def _empty(text: str) -> str | None:
    return None if text else "empty answer"


if __name__ == "__main__":
    main(AnswerQueries)
