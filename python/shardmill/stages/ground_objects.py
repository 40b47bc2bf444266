"""Detect named objects in an image."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import DetectStage, is_detectable, write_detections
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.store.image_columns import GENERATED_IMAGE


class GroundOptions(Options):
    """Options of `ground_objects`."""

    images: str = Field(GENERATED_IMAGE, description="the column with the images: generated_image, or image (the input's)")
    objects: tuple[str, ...] = Field(("objects",), description="the list columns with the names to detect")


class GroundObjects(DetectStage):
    """What a detector finds of the named objects, in one pass over the image. Nothing is decided here.

    generated_image or image (text), list columns -> detections (json): {name: {"score": float, "boxes": [[x0, y0, x1, y1], ...]}}
    for every name that has a letter or digit, boxes in pixels; {} for a row without an image or names. A row whose image cannot
    be read is rejected.
    """

    name = "ground_objects"
    adds = {"detections": "json"}
    Options = GroundOptions
    options: GroundOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = (self.options.images, *self.options.objects)

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        image = row[self.options.images]
        listed = dict.fromkeys(name for column in self.options.objects for name in row.get(column) or ())
        names = [name for name in listed if is_detectable(name)]
        if not image or not names:
            return []
        return [self.detect_call(self.context.image_path(self.options.images, image), names)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        return {"detections": write_detections(answers[0].value) if answers else {}}
