"""Captioners through transformers: InternVL, Qwen2-VL, LLaVA and any other model for images and text, in left-padded batches."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.batches import Batches, BatchSize
from shardmill.models.caption.images import SHAPING, ImageSettings, chat_text
from shardmill.models.contract import CaptionRequest, Reply, Usage
from shardmill.models.loading import device_of, dtype_of, end_tokens_of, loading
from shardmill.models.prefetch import ImagePrefetcher
from shardmill.models.settings import ModelSettings, RemoteCodeSettings, SettingsModel, read_settings, require_model
from shardmill.util.errors import UserError


class TransformersCaptionSettings(ImageSettings, RemoteCodeSettings):
    """Settings of a captioner through transformers."""

    shaping: ClassVar[tuple[str, ...]] = (*ModelSettings.shaping, *SHAPING, "dtype", "trust_remote_code")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: as the weights are, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    max_batch_size: int = Field(16, ge=1, description="largest batch; batches grow until memory is full, then halve")
    threads: int | None = Field(default=None, ge=1, description="threads that read and decode; all cores if not given")
    attn_implementation: str | None = Field(default=None, description="sdpa, eager, flash_attention_2, …")


class TransformersCaptioner(SettingsModel):
    """A vision-language model and its processor."""

    Settings = TransformersCaptionSettings

    def __init__(self, **settings: Any):
        self.settings = wanted = read_settings(TransformersCaptionSettings, settings)
        require_model(wanted.model)
        try:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        device = device_of(wanted.device)
        dtype = dtype_of(wanted.dtype, torch.float32 if device == "cpu" else "auto")
        where = wanted.hub_options()
        more = {"attn_implementation": wanted.attn_implementation} if wanted.attn_implementation else {}
        with loading(wanted.model):
            self._processor = AutoProcessor.from_pretrained(wanted.model, **where)
            model = AutoModelForImageTextToText.from_pretrained(wanted.model, dtype=dtype, **where, **more)
            self._model = model.to(device).eval()
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        wanted.processor_arguments(self._model.config.model_type)  # raises early if a setting does not fit the model
        self._end_ids, self._pad_id = end_tokens_of(self._model, self._tokenizer)
        self._texts: dict[str, str] = {}
        self._images = ImagePrefetcher(wanted.load_image, threads=wanted.threads)
        self._batches = Batches(self, BatchSize(wanted.max_batch_size), f"transformers with {wanted.model}", wanted.threads)
        self.fills_gpu = device != "cpu"

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        self._batches.close()
        self._images.close()
        del self._model
        torch.cuda.empty_cache()

    def stream(self, requests: Iterable[CaptionRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        return self._batches.stream(requests)

    def load(self, request: CaptionRequest) -> Any:
        return self._images.get(request.image)

    def group(self, request: CaptionRequest, loaded: Any) -> Hashable:
        return request.max_tiles

    def prepare(self, requests: Sequence[CaptionRequest], loaded: Sequence[Any]) -> Any:
        texts = [self._text(request.prompt) for request in requests]
        arguments = self.settings.processor_arguments(self._model.config.model_type, requests[0].max_tiles)
        inputs = self._processor(images=list(loaded), text=texts, padding=True, return_tensors="pt", **arguments)
        return inputs.to(self._model.device, self._model.dtype)

    def _text(self, prompt: str) -> str:
        if prompt not in self._texts:
            if len(self._texts) > 1_000:
                self._texts.clear()
            self._texts[prompt] = chat_text(self.settings, [self._processor, self._tokenizer], prompt)
        return self._texts[prompt]

    def run(self, requests: Sequence[CaptionRequest], prepared: Any) -> Any:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from shardmill.models.text.row_sampling import RowEnds, RowSampler

        samplings = [request.sampling for request in requests]
        width = prepared["input_ids"].shape[1]
        ends = RowEnds(self._tokenizer, width, samplings)
        with torch.inference_mode():
            out = self._model.generate(
                **prepared,
                logits_processor=LogitsProcessorList([RowSampler(samplings, [request.seed for request in requests])]),
                stopping_criteria=StoppingCriteriaList([ends]),
                max_new_tokens=max(sampling.max_tokens for sampling in samplings),
                do_sample=False,
                repetition_penalty=1.0,
                eos_token_id=self._end_ids,
                pad_token_id=self._pad_id,
            )
        return out[:, width:].tolist(), ends.ends, prepared["attention_mask"].sum(1).tolist()

    def replies(self, requests: Sequence[CaptionRequest], outcome: Any, seconds: float) -> list[Reply]:
        answers, ends, prompt_tokens = outcome
        return [
            self._reply(request, ids, ends.get(row), prompt_tokens[row], seconds)
            for row, (request, ids) in enumerate(zip(requests, answers, strict=True))
        ]

    def _reply(self, request: CaptionRequest, ids: list[int], end: Any, prompt_tokens: int, seconds: float) -> Reply:
        from shardmill.models.text.row_sampling import read_answer

        text, finish, written = read_answer(self._tokenizer, ids[: end[0]] if end else ids, self._end_ids, request.sampling.stop)
        return Reply(request.key, text, finish, usage=Usage(prompt_tokens, 0, written, seconds))
