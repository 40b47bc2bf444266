"""Describe each image from several perspectives.

python -m shardmill.recaption.caption_images --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import CaptionStage
from shardmill.core.stage import Answer, Context, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.models.contract import Sampling
from shardmill.recaption.caption_faults import fault_of
from shardmill.recaption.names import column_of
from shardmill.recaption.perspectives import Perspective, digest_of, find_perspectives
from shardmill.store.cells import Kind

PERSPECTIVES = ("detail", "brief", "sentence", "noun", "style", "background", "main")


class CaptionImagesOptions(Options):
    """Options of `caption_images`."""

    perspectives: list[str] = Field([*PERSPECTIVES], min_length=1, description="what to ask about each image")
    perspectives_file: str | None = Field(None, description="a YAML file with perspectives of your own")
    temperature: float = Field(0.0, ge=0, description="temperature; 0 is greedy, retries use 0.7")
    top_p: float = Field(1.0, gt=0, le=1)
    script: str = Field("LATIN", description="the Unicode script that captions are written in, or any")


class CaptionImages(CaptionStage):
    """The captions of an image from all perspectives, by one captioner; the image is read once for all of them.

    image (text) -> captions (json; with a label, `captions_LABEL`): [{"perspective", "text", "prompt_id", "finish", "tokens",
    "attempts"}], and "problem" where a perspective was not answered (`text` is null then). An image that cannot be read is
    rejected. Perspectives may be added later: only those are asked then.
    """

    name = "caption_images"
    reads = ("image",)
    adds = {"captions": "json"}
    tolerant = True
    extendable = ("perspectives", "perspectives_file")
    Options = CaptionImagesOptions
    options: CaptionImagesOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self._perspectives = find_perspectives(self.options.perspectives, self.options.perspectives_file)

    def columns(self) -> dict[str, Kind]:
        return {column_of(self.label): "json"}

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), "perspectives": digest_of(self._perspectives)}

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if not row["image"]:
            return []
        plain = Sampling(self.options.temperature, self.options.top_p)
        return [
            self.caption_call(
                row["image"],
                each.prompt,
                replace(plain, max_tokens=each.max_tokens),
                self._check(each),
                max_tiles=each.max_tiles,
                shorter=each.shorter,
                whole=each.whole,
            )
            for each in self._perspectives
        ]

    def _check(self, perspective: Perspective) -> Callable[[str], str | None]:
        return lambda text: fault_of(text, perspective.prompt, self.options.script)

    def reuse(self, asks: list[ModelCall], kept: Mapping[str, Any]) -> list[Answer | None]:
        said = {(each["perspective"], each["prompt_id"]): each for each in kept[column_of(self.label)] if "problem" not in each}
        return [
            None
            if (found := said.get((each.name, each.prompt_id))) is None
            else Answer(ask, found["text"], attempts=found["attempts"], finish=found["finish"], completion_tokens=found["tokens"])
            for each, ask in zip(self._perspectives, asks, strict=True)
        ]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return Reject("no image", "the row names no image")
        unusable = next((answer for answer in answers if answer.finish == "unusable"), None)
        if unusable is not None:
            return Reject(unusable.problem or "unusable", unusable.detail)
        pairs = zip(self._perspectives, answers, strict=True)
        return {column_of(self.label): [_entry(each, answer) for each, answer in pairs]}


def _entry(perspective: Perspective, answer: Answer) -> dict[str, Any]:
    problem = {} if answer.problem is None else {"problem": answer.problem, "raw": answer.raw[:500]}
    return {
        "perspective": perspective.name,
        "text": answer.value if answer.problem is None else None,
        "prompt_id": perspective.prompt_id,
        "finish": answer.finish,
        "tokens": answer.completion_tokens,
        "attempts": answer.attempts,
        **problem,
    }


if __name__ == "__main__":
    main(CaptionImages)
