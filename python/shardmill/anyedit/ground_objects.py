"""Detect the objects of a caption in its image.

python -m shardmill.anyedit.ground_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.anyedit.images import GENERATED, image_path
from shardmill.core.model_stages import DetectStage, is_detectable, write_detections
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.core.stage_main import main


class GroundOptions(Options):
    """Options of `ground_objects`."""

    images: str = Field(GENERATED, description="the column with the images: generated_image, or image for those of the input")


class GroundObjects(DetectStage):
    """What a detector finds of the caption's objects. Nothing is decided here.

    generated_image or image (text), input_objects (list) -> detections (json): {name: {"score": float, "boxes": [[x0, y0, x1,
    y1], ...]}}, boxes in pixels; {} for a row without an image or objects. A row whose image cannot be read is rejected.
    """

    name = "ground_objects"
    adds = {"detections": "json"}
    Options = GroundOptions
    options: GroundOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = (self.options.images, "input_objects")

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        image = row[self.options.images]
        names = [name for name in row["input_objects"] or [] if is_detectable(name)]
        if not image or not names:
            return []
        return [self.detect_call(image_path(self.context, self.options.images, image), names)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        return {"detections": write_detections(answers[0].value) if answers else {}}


if __name__ == "__main__":
    main(GroundObjects)
