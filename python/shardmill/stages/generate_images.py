"""Generate an image for a text."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import GenerateStage
from shardmill.core.stage import Answer, Context, ModelCall, Options, Row
from shardmill.models.contract import GeneratedImage


class GenerateOptions(Options):
    """Options of `generate_images`."""

    prompt: str = Field("prompt", description="the column with what the image shows")
    negative: str = Field("", description="the column with what it must not show; empty: nothing in particular")


class GenerateImages(GenerateStage):
    """An image of what a prompt names and, by the negative prompt, of nothing else; words of both may bear weights.

    prompt columns (text) -> generated_image (text, path from the run's folder), generated_width, generated_height (int). An image
    is named after all that shapes it, its seed among them, so it is never taken for another row's.
    """

    name = "generate_images"
    adds = {"generated_image": "text", "generated_width": "int", "generated_height": "int"}
    Options = GenerateOptions
    options: GenerateOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = tuple(filter(None, (self.options.prompt, self.options.negative)))
        self.optional = tuple(filter(None, [self.options.negative]))
        self.input_kinds = dict.fromkeys(self.optional, "text")

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        negative = row[self.options.negative] if self.options.negative else ""
        return [self.generate_call(row[self.options.prompt] or "", negative or "")]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        image: GeneratedImage = answers[0].value
        return {"generated_image": self.path_of(image), "generated_width": image.width, "generated_height": image.height}
