"""Detect the objects that a generated image should show, and those that it should not.

python -m shardmill.antidote.ground_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from pydantic import Field

from shardmill.core.stage_main import main
from shardmill.stages.ground_objects import GroundObjects, GroundOptions


class FactListOptions(GroundOptions):
    """Options of `ground_objects` with the columns of this pipeline."""

    objects: tuple[str, ...] = Field(
        ("present", "absent", "drawn_absent"), description="the list columns with the names to detect"
    )


class GroundFactLists(GroundObjects):
    """What a detector finds of the objects that should be there and of those that should not.

    generated_image (text), present, absent, drawn_absent (list) -> detections (json); see `GroundObjects`.
    """

    optional = ("drawn_absent",)
    input_kinds = dict.fromkeys(("present", "absent", "drawn_absent"), "list")
    Options = FactListOptions


if __name__ == "__main__":
    main(GroundFactLists)
