"""Captioners in a vLLM engine of the worker's own; what it keeps of a picture serves all prompts about it."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from shardmill.models.caption.images import SHAPING, ImageSettings, chat_text
from shardmill.models.contract import Reply, Request
from shardmill.models.images import UnreadableImage
from shardmill.models.read_once import ReadOnce
from shardmill.models.text.vllm import Unusable, VllmModel, VllmSettings
from shardmill.models.text.vllm_driver import Order


class VllmCaptionSettings(ImageSettings, VllmSettings):
    """Settings of a captioner in vLLM: those of a text model, and how pictures are given to it."""

    shaping: ClassVar[tuple[str, ...]] = (*VllmSettings.shaping, *SHAPING)

    structured: Literal["guidance", "xgrammar", "outlines", "none"] = Field("none", description="captions follow no schema")
    threads: int | None = Field(default=None, ge=1, description="threads that read and decode; all cores if not given")

    def engine_args(self) -> dict[str, Any]:
        return {"limit_mm_per_prompt": {"image": 1}, **super().engine_args()}


class VllmCaptioner(VllmModel):
    """A vision-language model in a vLLM engine."""

    Settings = VllmCaptionSettings
    settings: VllmCaptionSettings

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        from transformers import AutoProcessor

        wanted = self.settings
        try:
            templates = [
                AutoProcessor.from_pretrained(wanted.model, revision=wanted.revision, trust_remote_code=wanted.trust_remote_code)
            ]
        except (OSError, ValueError, ImportError):  # some models have a tokenizer and no processor
            templates = []
        self._templates = [*templates, self._tokenizer]
        self._model_type = self._driver.engine.model_config.hf_config.model_type
        wanted.processor_arguments(self._model_type)  # what does not fit the model is told before a picture is read
        self._images = ReadOnce(wanted.picture, kept=256, threads=wanted.threads)
        self._texts: dict[str, str] = {}

    def close(self) -> None:
        super().close()
        self._images.close()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. Pictures are read ahead of the engine."""
        return super().stream(self._images.ahead(requests))  # type: ignore[arg-type]

    def order(self, request: Any, answers: queue.SimpleQueue[Any]) -> Order:
        try:
            image = self._images.get(request.image)
        except UnreadableImage as error:
            raise Unusable("unreadable image", str(error)) from error
        if request.prompt not in self._texts:
            self._texts[request.prompt] = chat_text(self.settings, self._templates, request.prompt)
        prompt = {"prompt": self._texts[request.prompt], "multi_modal_data": {"image": image}}
        arguments = self.settings.processor_arguments(self._model_type, request.max_tiles)
        if arguments:
            prompt["mm_processor_kwargs"] = arguments
        return Order(request.key, prompt, self.sampling_params(request, request.sampling.max_tokens), answers)
