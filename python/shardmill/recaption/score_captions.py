"""Measure how well each caption fits its image, for `check_captions.min_clip` and for the report.

python -m shardmill.recaption.score_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import ScoreStage
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.recaption.names import column_of, text_name

COLUMN = "clip_scores"


class ScoreCaptionsOptions(Options):
    """Options of `score_captions`."""

    captioners: list[str] = Field(
        [""], min_length=1, description='labels of the stages whose captions are scored; "" is the one without a label'
    )


class ScoreCaptions(ScoreStage):
    """The similarity of each caption to its image, all captions of an image in one visit. Nothing is decided here.

    image (text), captions, captions_LABEL, … (json) -> clip_scores (json): {text name: cosine in [-1, 1]}; what was not answered
    has none.
    """

    name = "score_captions"
    adds = {COLUMN: "json"}
    Options = ScoreCaptionsOptions
    options: ScoreCaptionsOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = ("image", *(column_of(captioner) for captioner in self.options.captioners))

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        texts = self._texts(row)
        return [self.score_call(row["image"], list(texts.values()))] if texts else []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        scores = answers[0].value if answers else []
        return {COLUMN: dict(zip(self._texts(row), scores, strict=True))}

    def _texts(self, row: Row) -> dict[str, str]:
        return {
            text_name(captioner, caption["perspective"]): caption["text"]
            for captioner in self.options.captioners
            for caption in row[column_of(captioner)]
            if caption["text"]
        }


if __name__ == "__main__":
    main(ScoreCaptions)
