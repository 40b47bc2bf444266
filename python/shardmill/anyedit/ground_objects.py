"""Detect the objects of a caption in its image.

python -m shardmill.anyedit.ground_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from pydantic import Field

from shardmill.core.stage_main import main
from shardmill.stages.ground_objects import GroundObjects, GroundOptions


class InputObjectOptions(GroundOptions):
    """Options of `ground_objects` with the columns of this pipeline."""

    objects: tuple[str, ...] = Field(("input_objects",), description="the list columns with the names to detect")


class GroundInputObjects(GroundObjects):
    """What a detector finds of the caption's objects.

    generated_image or image (text), input_objects (list) -> detections (json); see `GroundObjects`.
    """

    Options = InputObjectOptions


if __name__ == "__main__":
    main(GroundInputObjects)
