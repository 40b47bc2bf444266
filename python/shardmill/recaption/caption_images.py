"""Describe each image from several perspectives.

python -m shardmill.recaption.caption_images --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Any

from pydantic import Field

from shardmill.models.contract import Sampling
from shardmill.recaption.perspectives import find_perspectives
from shardmill.shards.cells import dump_cell
from shardmill.stage import Answer, Ask, CaptionStage, Context, Options, Reject, Row
from shardmill.standalone import main

PERSPECTIVES = ("detail", "brief", "sentence", "noun", "style", "background", "main")


class CaptionOptions(Options):
    """Options of `caption_images`."""

    perspectives: list[str] = Field([*PERSPECTIVES], min_length=1, description="what to ask about each image, in this order")
    temperature: float = Field(0.0, ge=0, description="0: the likeliest words; what must be asked again is asked at 0.7")
    top_p: float = Field(1.0, gt=0, le=1)


class CaptionImages(CaptionStage):
    """One row for each image and perspective.

    image (text) -> sub_id (int, the perspective's place in the options), perspective, text, prompt_id, problem (text). The image
    is read once for all of its perspectives. Where one was not answered, `text` is empty and `problem` says why; an image of
    which none was is rejected.
    """

    name = "recaption.caption_images"
    reads = ("image",)
    adds = {"sub_id": "int", "perspective": "text", "text": "text", "prompt_id": "text", "problem": "text"}
    Options = CaptionOptions
    options: CaptionOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self._perspectives = find_perspectives(self.options.perspectives)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        prompts = dump_cell([each.model_dump() for each in self._perspectives])
        return {**super().fingerprint(model), "perspectives": sha256(prompts.encode()).hexdigest()}

    def ask(self, row: Row, rng: Random) -> list[Ask]:
        if not row["image"]:
            return []
        plain = Sampling(self.options.temperature, self.options.top_p)
        return [
            self.describe(row["image"], each.prompt, replace(plain, max_tokens=each.max_tokens), _empty)
            for each in self._perspectives
        ]

    def accept(self, row: Row, answers: list[Answer]) -> list[dict[str, Any]] | Reject:
        if not answers:
            return Reject("no image", "the row names no image")
        return [
            {
                "sub_id": place,
                "perspective": each.name,
                "text": answer.value,
                "prompt_id": each.prompt_id,
                "problem": answer.problem,
            }
            for place, (each, answer) in enumerate(zip(self._perspectives, answers, strict=True))
        ]


def _empty(text: str) -> str | None:
    return None if text else "empty caption"


if __name__ == "__main__":
    main(CaptionImages)
