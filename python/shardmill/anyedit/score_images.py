"""Measure how well each caption fits its image, and how good the image looks; drop rows below a threshold.

python -m shardmill.anyedit.score_images --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import ScoreStage, round_scores
from shardmill.core.stage import Answer, Context, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.models.contract import Reply, Scores
from shardmill.store.image_columns import GENERATED_IMAGE
from shardmill.util.errors import UserError


class ScoreImagesOptions(Options):
    """Options of `score_images`. AnyEdit's own thresholds are 0.1 and 2."""

    images: str = Field(GENERATED_IMAGE, description="the column with the images: generated_image, or image (the input's)")
    min_clip: float | None = Field(None, ge=-1, le=1, description="lowest cosine of caption and image; none if not given")
    min_aesthetic: float | None = Field(None, description="lowest aesthetic score; needs a model with the setting `aesthetic`")


class ScoreImages(ScoreStage):
    """The cosine of caption and image, and the image's aesthetic score where the model has a head for it.

    input (text), generated_image or image (text) -> clip_score (float, in [-1, 1]), aesthetic_score (float or null). A row
    without an image has null for both and comes out whatever the thresholds; one that cannot be read is rejected. The rule
    is the image filter of AnyEdit's `pre_filter`, with the cosine itself: a softmax over one caption is always 1.
    """

    name = "score_images"
    adds = {"clip_score": "float", "aesthetic_score": "float"}
    Options = ScoreImagesOptions
    options: ScoreImagesOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = ("input", self.options.images)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        if self.options.min_aesthetic is not None and not model.get("aesthetic"):
            raise UserError(
                "stage score_images: min_aesthetic needs a model with an aesthetic head; give its path as `aesthetic` in the "
                "model's settings (see slurm/models/clip-vit-l-14.yaml), or leave out min_aesthetic"
            )
        return super().fingerprint(model)

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        image = row[self.options.images]
        if not image:
            return []
        return [self.score_call(self.context.image_path(self.options.images, image), [row["input"] or ""])]

    def parse(self, reply: Reply) -> Scores:
        return round_scores(reply.result)

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return {"clip_score": None, "aesthetic_score": None}
        (cosine,), aesthetic = answers[0].value.cosines, answers[0].value.aesthetic
        min_clip, min_aesthetic = self.options.min_clip, self.options.min_aesthetic
        if min_clip is not None and cosine < min_clip:
            return Reject("caption does not match the image", f"clip_score {cosine} is below {min_clip}")
        if min_aesthetic is not None and (aesthetic is None or aesthetic < min_aesthetic):
            return Reject("low aesthetic score", f"aesthetic_score {aesthetic} is below {min_aesthetic}")
        return {"clip_score": cosine, "aesthetic_score": aesthetic}


if __name__ == "__main__":
    main(ScoreImages)
