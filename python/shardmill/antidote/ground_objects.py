"""Detect the objects that a generated image should show, and those that it should not.

python -m shardmill.antidote.ground_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.core.model_stages import DetectStage, write_detections
from shardmill.core.stage import Answer, ModelCall, Row
from shardmill.core.stage_main import main
from shardmill.store.layout import generated_image_path


class GroundObjects(DetectStage):
    """What a detector finds of both lists, in one pass over the picture. Nothing is decided here.

    generated_image (text), present, absent (list) -> detections (json):
    {name: {"score": float, "boxes": [[x0, y0, x1, y1], ...]}} for every name of both lists, boxes in pixels.
    """

    name = "ground_objects"
    reads = ("generated_image", "present", "absent")
    adds = {"detections": "json"}

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [
            self.detect_call(
                generated_image_path(self.context.run_folder, row["generated_image"]), [*row["present"], *row["absent"]]
            )
        ]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        return {"detections": write_detections(answers[0].value)}


if __name__ == "__main__":
    main(GroundObjects)
