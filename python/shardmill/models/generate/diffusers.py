"""Images by any text-to-image pipeline of diffusers; weighted prompts for Stable Diffusion 3 and XL."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from shardmill.models.contract import GeneratedImage, GenerateRequest, Reply
from shardmill.models.generate.embeddings import PromptTooLong, WeightedPrompts, check_length, takes_weights
from shardmill.models.generate.pipeline_model import DiffusersModel, PipelineSettings, PreparedRequest, encodable
from shardmill.models.generate.prompt_weights import fragments, plain
from shardmill.models.generate.store import image_digest, image_file, saved_size
from shardmill.models.settings import ModelSettings
from shardmill.util.errors import UserError

log = logging.getLogger("shardmill")

T5 = ("text_encoder_3", "tokenizer_3")


class GenerateSettings(PipelineSettings):
    """Settings of a text-to-image pipeline."""

    shaping = (
        *ModelSettings.shaping,
        *("variant", "dtype", "width", "height", "steps", "guidance", "negative", "drop_t5", "format", "quality"),
    )

    width: int = Field(1024, ge=16, le=4096, multiple_of=8, description="width of the images in pixels")
    height: int = Field(1024, ge=16, le=4096, multiple_of=8, description="height of the images in pixels")
    guidance: float = Field(7.0, ge=0, le=100, description="guidance scale")
    drop_t5: bool = Field(False, description="leave out the large text encoder of Stable Diffusion 3: 10 GB less memory")


@dataclass(frozen=True)
class _PlainPrompt:
    prompt: str
    negative: str
    shape: tuple[int, int] = (1, 0)


class PlainPrompts:
    """Prompts for a pipeline that encodes them itself, without weights."""

    def __init__(self, name: str, takes_negative: bool):
        self._name, self._takes_negative = name, takes_negative
        self._warned: set[str] = set()

    def prepare(self, prompt: str, negative: str) -> _PlainPrompt:
        check_length(prompt)
        check_length(negative)
        if any(weight != 1 for text in (prompt, negative) for _, weight in fragments(text)):
            self._warn_once("does not support prompt weights: they are left out")
        if negative and not self._takes_negative:
            self._warn_once("does not support negative prompts: they are left out")
        return _PlainPrompt(plain(prompt), plain(negative))

    def encode(self, prepared: Sequence[_PlainPrompt]) -> dict[str, Any]:
        negative = {"negative_prompt": [each.negative for each in prepared]} if self._takes_negative else {}
        return {"prompt": [each.prompt for each in prepared], **negative}

    def _warn_once(self, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s %s", self._name, what)


class DiffusersGenerator(DiffusersModel):
    """A text-to-image pipeline."""

    Settings = GenerateSettings
    settings: GenerateSettings
    code = (
        __name__,
        *(f"shardmill.models.generate.{module}" for module in ("pipeline_model", "embeddings", "prompt_weights")),
    )

    def call_options(self, parameters: Collection[str]) -> dict[str, Any]:
        wanted = self.settings
        if "prompt" not in parameters or "height" not in parameters:
            raise UserError(f"{wanted.model} is a {type(self._pipe).__name__}, which is not a text-to-image pipeline")
        return {
            "height": wanted.height,
            "width": wanted.width,
            "num_inference_steps": wanted.steps,
            "guidance_scale": wanted.guidance,
        }

    def prompt_encoder(self, parameters: Collection[str]) -> Any:
        if takes_weights(self._pipe):
            return WeightedPrompts(self._pipe)
        return PlainPrompts(type(self._pipe).__name__, "negative_prompt" in parameters)

    def left_out(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        of_sd3 = config["_class_name"] == "StableDiffusion3Pipeline"
        if self.settings.drop_t5 and not of_sd3:
            raise UserError(f"drop_t5 is for Stable Diffusion 3; {self.settings.model} is a {config['_class_name']}")
        without_t5 = of_sd3 and (self.settings.drop_t5 or not all((config.get(name) or [None])[0] for name in T5))
        return T5 if without_t5 else ()

    def prepare(self, request: Any) -> PreparedRequest | Reply:
        """A request ready to be generated; the reply if its image exists already, or if it never can be."""
        assert isinstance(request, GenerateRequest)
        prompt = encodable(request.prompt)
        negative = encodable(", ".join(filter(None, (request.negative, self.settings.negative))))
        try:
            prepared = self._prompts.prepare(prompt, negative)
        except PromptTooLong as error:
            return Reply(request.key, None, "unusable", "prompt too long", str(error))
        name = image_digest({"model": self._drawn_by, "prompt": prompt, "negative": negative, "seed": request.seed})
        row = PreparedRequest(request, prepared, image_file(name, self.settings.format))
        size = saved_size(row.path)
        return row if size is None else Reply(request.key, GeneratedImage(row.file, *size))
