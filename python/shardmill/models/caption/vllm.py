"""Captioners in a vLLM engine of the worker's own; its cache of an image serves all prompts about it."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from shardmill.models.caption.images import SHAPING, ImageSettings, chat_text
from shardmill.models.contract import Reply, Request
from shardmill.models.images import UnreadableImage
from shardmill.models.prefetch import ImagePrefetcher
from shardmill.models.text.vllm import UnusableRequest, VllmModel, VllmSettings
from shardmill.models.text.vllm_loop import EngineRequest


class VllmCaptionSettings(ImageSettings, VllmSettings):
    """Settings of a captioner in vLLM: those of a text model, and how images are given to it."""

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
            templates = [AutoProcessor.from_pretrained(wanted.model, **wanted.hub_options())]
        except (OSError, ValueError, ImportError):  # some models have a tokenizer and no processor
            templates = []
        self._templates = [*templates, self._tokenizer]
        self._model_type = self._loop.engine.model_config.hf_config.model_type
        wanted.processor_arguments(self._model_type)  # raises before any image is read if a setting does not fit the model
        self._images = ImagePrefetcher(wanted.load_image, max_kept=256, threads=wanted.threads)
        self._texts: dict[str, str] = {}

    def close(self) -> None:
        super().close()
        self._images.close()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. Images are read ahead of the engine."""
        return super().stream(self._images.prefetch_for(requests))  # type: ignore[arg-type]

    def engine_request(self, request: Any, outputs: queue.SimpleQueue[Any]) -> EngineRequest:
        try:
            image = self._images.get(request.image)
        except UnreadableImage as error:
            raise UnusableRequest("unreadable image", str(error)) from error
        if request.prompt not in self._texts:
            self._texts[request.prompt] = chat_text(self.settings, self._templates, request.prompt)
        prompt = {"prompt": self._texts[request.prompt], "multi_modal_data": {"image": image}}
        arguments = self.settings.processor_arguments(self._model_type, request.max_tiles)
        if arguments:
            prompt["mm_processor_kwargs"] = arguments
        return EngineRequest(request.key, prompt, self.sampling_params(request, request.sampling.max_tokens), outputs)
