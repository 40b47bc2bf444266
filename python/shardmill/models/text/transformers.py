"""Language models through transformers: for small models, rare architectures, and machines without a GPU.

Batches are made of requests whose prompts share a prefix. The attention states of that prefix, as a rule the instructions and
examples of a template, are computed once and kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from shardmill.models.contract import Reply, Request, Sampling, TextRequest, Usage
from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.models.loading import device_of, dtype_of, end_tokens_of, loading
from shardmill.models.settings import RemoteCodeSettings, SettingsModel, read_settings, require_model
from shardmill.models.text.settings import TextSettings
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

WINDOW = 6
"""Batches' worth of requests to choose a batch from."""
MIN_PREFIX, PREFIX_SLACK, PREFIXES = 32, 16, 8
"""The shortest prefix, in tokens, that is worth keeping; how much longer a shared prefix may be than the kept one used for it;
and how many prefixes are kept."""


class TransformersSettings(RemoteCodeSettings, TextSettings):
    """Settings of a transformers model."""

    shaping = (*TextSettings.shaping, "dtype", "max_model_len", "trust_remote_code")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: as the weights are, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    max_model_len: int | None = Field(default=None, ge=16, description="prompt and answer together; the model's own if not given")
    max_batch_size: int = Field(32, ge=1, description="rows at the same time; halved by itself when memory runs out")
    attn_implementation: str | None = Field(default=None, description="sdpa, eager, flash_attention_2, …")


@dataclass
class _Prepared:
    """A request as token ids; `order` is its number in the stream, `matcher` constrains its answer to its schema."""

    order: int
    request: TextRequest
    ids: list[int]
    sampling: Sampling
    matcher: Any


class TransformersModel(SettingsModel):
    """A causal language model and its tokenizer."""

    Settings = TransformersSettings

    def __init__(self, **settings: Any):
        self.settings = read_settings(TransformersSettings, settings)
        require_model(self.settings.model)
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            from shardmill.models.text.constrained import Grammars
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[transformers]'") from error
        wanted = self.settings
        device = device_of(wanted.device)
        dtype = dtype_of(wanted.dtype, torch.float32 if device == "cpu" else "auto")
        where = wanted.hub_options()
        with loading(wanted.model):
            self._tokenizer = AutoTokenizer.from_pretrained(wanted.model, **where)
            more = {"attn_implementation": wanted.attn_implementation} if wanted.attn_implementation else {}
            self._model = AutoModelForCausalLM.from_pretrained(wanted.model, dtype=dtype, **where, **more).to(device).eval()
        if self._tokenizer.chat_template is None:
            raise UserError(f"{wanted.model} has no chat template; use an instruction-tuned model")
        self._end_ids, self._pad_id = end_tokens_of(self._model, self._tokenizer)
        limit = getattr(self._model.config, "max_position_embeddings", None) or 1 << 20
        self._max_model_len = min(limit, wanted.max_model_len or limit)
        self._grammars = Grammars(self._tokenizer, self._model.config.get_text_config().vocab_size)
        self._batch_size = wanted.max_batch_size
        self._prefixes: dict[tuple[int, ...], Any] = {}
        self._shares_prefixes = _has_full_attention(self._model.config.get_text_config())
        self.fills_gpu = device != "cpu"

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        self._prefixes.clear()
        del self._model
        torch.cuda.empty_cache()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. A few batches' worth of requests are taken ahead, to choose batches from."""
        waiting: list[_Prepared] = []
        source = iter(requests)
        count = 0
        while True:
            while len(waiting) < WINDOW * self._batch_size and (request := next(source, None)) is not None:
                assert isinstance(request, TextRequest)
                count += 1
                prepared = self._prepare(count, request)
                if isinstance(prepared, Reply):
                    yield prepared
                else:
                    waiting.append(prepared)
            if not waiting or stop_requested():
                return
            batch = self._next_batch(waiting)
            replies = self._answer_batch(batch)
            yield from replies

    def _prepare(self, order: int, request: TextRequest) -> _Prepared | Reply:
        ids = self.settings.prompt_of(request, self._tokenizer)
        if len(ids) >= self._max_model_len:
            detail = f"{len(ids)} tokens; the model takes {self._max_model_len}"
            return Reply(request.key, "", "unusable", "prompt too long", detail)
        try:
            matcher = None if request.schema is None else self._grammars.matcher(request.schema)
        except ValueError as error:
            return Reply(request.key, "", "unusable", "impossible schema", str(error))
        sampling = self.settings.sampling_of(request)
        room = min(sampling.max_tokens, self._max_model_len - len(ids))
        return _Prepared(order, request, ids, Sampling(sampling.temperature, sampling.top_p, room, sampling.stop), matcher)

    def _next_batch(self, waiting: list[_Prepared]) -> list[_Prepared]:
        """Take a batch out of `waiting`: the oldest request with those whose prompts share most with its own.

        Sorted by tokens, prompts with a common prefix are neighbours; and no request waits for ever.
        """
        waiting.sort(key=lambda each: each.ids)
        oldest = min(range(len(waiting)), key=lambda position: waiting[position].order)
        start = max(0, min(oldest - self._batch_size // 2, len(waiting) - self._batch_size))
        batch = waiting[start : start + self._batch_size]
        del waiting[start : start + self._batch_size]
        return batch

    def _answer_batch(self, batch: list[_Prepared]) -> list[Reply]:
        """The replies to a batch, in halves if it does not fit into memory."""
        try:
            return self._generate(batch)
        except RuntimeError as error:
            if not any(sign in str(error) for sign in OUT_OF_MEMORY):
                raise ModelDied(failure_message(f"transformers with {self.settings.model}", str(error))) from error
            problem = str(error)[:600]
        self._prefixes.clear()
        if len(batch) == 1:
            return [Reply(batch[0].request.key, "", "error", "out of memory", problem)]
        half = len(batch) // 2
        self._batch_size = max(1, min(self._batch_size, half))
        log.warning("out of memory with %d rows at a time; %d from now on", len(batch), self._batch_size)
        for each in batch:  # the matchers have consumed the tokens of the failed try
            each.matcher = None if each.request.schema is None else self._grammars.matcher(each.request.schema)
        return [reply for part in (batch[:half], batch[half:]) for reply in self._answer_batch(part)]

    def _generate(self, batch: Sequence[_Prepared]) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from shardmill.models.text.constrained import Constraint
        from shardmill.models.text.row_sampling import RowEnds, RowSampler

        started = time.monotonic()
        with torch.inference_mode():
            prefix, cache, was_kept = self._prefix(batch)
            width = max(len(each.ids) for each in batch)
            samplings = [each.sampling for each in batch]
            ends = RowEnds(self._tokenizer, width, samplings)
            rows = [self._padded(each.ids, prefix, width) for each in batch]
            out = self._model.generate(
                input_ids=torch.tensor([ids for ids, _ in rows], device=self._model.device),
                attention_mask=torch.tensor([mask for _, mask in rows], device=self._model.device),
                past_key_values=cache,
                logits_processor=LogitsProcessorList(
                    [
                        Constraint([each.matcher for each in batch], self._end_ids),
                        RowSampler(samplings, [each.request.seed for each in batch]),
                    ]
                ),
                stopping_criteria=StoppingCriteriaList([ends]),
                max_new_tokens=max(sampling.max_tokens for sampling in samplings),
                do_sample=False,
                repetition_penalty=1.0,
                eos_token_id=self._end_ids,
                pad_token_id=self._pad_id,
            )
        seconds = time.monotonic() - started
        answers = out[:, width:].tolist()
        cached = [prefix if was_kept or row else 0 for row in range(len(batch))]
        return [
            self._reply(each, ids, ends.ends.get(row), Usage(len(each.ids), cached[row], 0, seconds))
            for row, (each, ids) in enumerate(zip(batch, answers, strict=True))
        ]

    def _reply(self, prepared: _Prepared, ids: list[int], end: tuple[int, str] | None, usage: Usage) -> Reply:
        from shardmill.models.text.row_sampling import read_answer

        text, finish, written = read_answer(self._tokenizer, ids[: end[0]] if end else ids, self._end_ids, prepared.sampling.stop)
        usage = Usage(usage.prompt_tokens, usage.cached_tokens, written, usage.seconds)
        return Reply(prepared.request.key, text, finish, usage=usage)

    def _padded(self, ids: list[int], prefix: int, width: int) -> tuple[list[int], list[int]]:
        """A prompt and its attention mask, both of length `width`, padded between the shared prefix and the rest.

        The states of the prefix hold for its positions, so it must stay there; generation needs the end of the prompt at the
        right edge. So the padding goes between the two.
        """
        padding = width - len(ids)
        return [*ids[:prefix], *[self._pad_id] * padding, *ids[prefix:]], [1] * prefix + [0] * padding + [1] * (len(ids) - prefix)

    def _prefix(self, batch: Sequence[_Prepared]) -> tuple[int, Any, bool]:
        """The shared prefix of a batch.

        Returns:
            The number of tokens that all prompts begin with, the key-value cache of these tokens for each row, and whether it
            was kept from an earlier batch; (0, None, False) when the prompts share too little.
        """
        import torch

        if not self._shares_prefixes:
            return 0, None, False
        prompts = [each.ids for each in batch]
        # What the first and the last in sorted order share, all share. One token of each prompt is left for `generate` to run.
        first, last = min(prompts), max(prompts)
        limit = min(len(prompt) for prompt in prompts) - 1
        shared = next((position for position in range(limit) if first[position] != last[position]), max(limit, 0))
        if shared < MIN_PREFIX:
            return 0, None, False
        reusable = [
            kept for kept in self._prefixes if shared - PREFIX_SLACK <= len(kept) <= shared and first[: len(kept)] == [*kept]
        ]
        if reusable:
            key = max(reusable, key=len)
            self._prefixes[key] = self._prefixes.pop(key)  # moved to the end: the least recently used is dropped first
        else:
            key = tuple(first[:shared])
            while len(self._prefixes) >= PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
            self._prefixes[key] = self._model(torch.tensor([key], device=self._model.device), use_cache=True).past_key_values
        cache = deepcopy(self._prefixes[key])  # `generate` appends to it in place
        cache.batch_repeat_interleave(len(batch))
        return len(key), cache, bool(reusable)


def _has_full_attention(config: Any) -> bool:
    """Whether every layer attends to all earlier tokens, whatever their distance.

    Sliding windows, chunked attention and ALiBi depend on distances, which padding after a shared prefix would change.
    """
    position_dependent = ("sliding_window", "attention_chunk_size", "alibi", "attn_config")
    return {*(getattr(config, "layer_types", None) or ())} <= {"full_attention"} and not any(
        getattr(config, name, None) for name in position_dependent
    )
