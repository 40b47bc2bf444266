"""MiniGPT-4 (Zhu et al., 2023, arXiv:2304.10592) built from transformers parts: an image and a prompt in, text out.

The vision tower and Q-Former of BLIP-2 turn an image into 32 tokens, one linear layer, all that MiniGPT-4 trained, carries them
into the embeddings of Vicuna or Llama 2. Rows are padded on the left and masked, so that a row does not depend on its batch.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shardmill.models.contract import CaptionRequest, Reply, Request, Sampling, Usage
from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.models.images import UnreadableImage
from shardmill.models.loading import device_of, dtype_of, end_tokens_of, loading
from shardmill.models.settings import ModelSettings, SettingsModel, read_settings, require_model
from shardmill.models.weights import is_hub_name, weights_digest
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stop_requested

if TYPE_CHECKING:
    from shardmill.models.caption.minigpt4_parts import VisualTokenCache

log = logging.getLogger("shardmill")

WINDOW = 3
"""Batches' worth of requests whose images are decoded ahead."""
CHATS = {
    "vicuna": ("###Human: <Img>", "</Img> {prompt} ###Assistant:", ("###",)),
    "llama-2": ("[INST]<Img>", "</Img> {prompt} [/INST]", ()),
}
"""The text before an image, the text after it, and the strings that end an answer, as in the original's alignment prompts."""


class MiniGpt4Settings(ModelSettings):
    """Settings of a MiniGPT-4."""

    shaping = (*ModelSettings.shaping, "vision_encoder", "projection", "chat", "dtype", "max_model_len")

    vision_encoder: str = Field(description="a BLIP-2 checkpoint, folder or hub id; its vision tower and Q-Former are used")
    projection: str = Field(description="an original MiniGPT-4 checkpoint: path of a .pth file, or repo_id:filename on the hub")
    chat: Literal["vicuna", "llama-2"] = Field("vicuna", description="the form of a prompt: vicuna, or llama-2")
    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: as the weights are, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    max_batch_size: int = Field(16, ge=1, description="batch size; halved when out of memory")
    max_model_len: int | None = Field(default=None, ge=64, description="prompt and answer together; the model's own if not given")

    def identity(self) -> dict[str, str]:
        """As for any model, and the weights of the vision encoder and the projection, where they are local."""
        found = super().identity()
        vision_encoder, projection = Path(self.vision_encoder).expanduser(), Path(self.projection).expanduser()
        if vision_encoder.is_dir():
            found["vision_encoder_weights"] = weights_digest(vision_encoder)
        if projection.is_file():
            found["projection_sha256"] = sha256(projection.read_bytes()).hexdigest()
        return found

    def hub_models(self) -> dict[str, str | None]:
        """As for any model, and the vision encoder and projection."""
        others = (self.vision_encoder, self.projection.partition(":")[0])
        return {**super().hub_models(), **{name: None for name in others if is_hub_name(name)}}


@dataclass(frozen=True)
class _Prepared:
    """A request as the tokens after its image, and how long its answer may be."""

    request: CaptionRequest
    ids: list[int]
    sampling: Sampling


class MiniGpt4Captioner(SettingsModel):
    """A language model, its tokenizer, and a vision encoder."""

    Settings = MiniGpt4Settings

    def __init__(self, **settings: Any):
        self.settings = wanted = read_settings(MiniGpt4Settings, settings)
        require_model(wanted.model)
        try:
            import torch
            from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

            from shardmill.models.caption import minigpt4_parts as parts
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[transformers]'") from error
        device = device_of(wanted.device)
        dtype = dtype_of(wanted.dtype, torch.float32 if device == "cpu" else "auto")
        where = wanted.hub_options()
        with loading(wanted.model, "MiniGPT-4"):
            # whatever can be wrong is checked before gigabytes are loaded
            vision_config = parts.read_vision_config(wanted.vision_encoder)
            hidden = AutoConfig.from_pretrained(wanted.model, **where).get_text_config().hidden_size
            projection = parts.load_projection(wanted.projection, vision_config.qformer_config.hidden_size, hidden)
            self._processor = parts.load_processor(wanted.vision_encoder, vision_config)
            self._tokenizer = AutoTokenizer.from_pretrained(wanted.model, **where)
            self._model = AutoModelForCausalLM.from_pretrained(wanted.model, dtype=dtype, **where).to(device).eval()
            self._vision_encoder = parts.load_vision_encoder(wanted.vision_encoder, projection, self._model.dtype, device)
        self._end_ids, self._pad_id = end_tokens_of(self._model, self._tokenizer)
        limit = getattr(self._model.config, "max_position_embeddings", None) or 1 << 20
        self._max_model_len = min(limit, wanted.max_model_len or limit)
        self._queries = vision_config.num_query_tokens
        before, self._after, self._stops = CHATS[wanted.chat]
        start = [] if self._tokenizer.bos_token_id is None else [self._tokenizer.bos_token_id]
        self._before = [*start, *self._tokenizer.encode(before, add_special_tokens=False)]
        self._batch_size = wanted.max_batch_size
        self.fills_gpu = device != "cpu"

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        del self._model, self._vision_encoder
        torch.cuda.empty_cache()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. Requests are taken a few batches ahead; they are answered in their order."""
        from shardmill.models.caption.minigpt4_parts import VisualTokenCache

        waiting: deque[_Prepared] = deque()
        source = iter(requests)
        with VisualTokenCache(self._preprocess, self._encode) as visual_tokens:
            while True:
                wanted = max(0, WINDOW * self._batch_size - len(waiting))
                for request in islice(source, wanted):
                    assert isinstance(request, CaptionRequest)
                    prepared = self._prepare(request)
                    if isinstance(prepared, Reply):
                        yield prepared
                    else:
                        visual_tokens.expect(request.image)
                        waiting.append(prepared)
                if not waiting or stop_requested():
                    return
                batch = [waiting.popleft() for _ in range(min(self._batch_size, len(waiting)))]
                replies = self._answer(batch, visual_tokens)
                yield from replies

    def _preprocess(self, image: Any) -> Any:
        """An opened image as pixels (1, 3, height, width)."""
        return self._processor(images=image, return_tensors="pt")["pixel_values"]

    def _encode(self, pixels: Any) -> Any:
        """Pixels as visual tokens (query tokens, hidden size) in the language model's type."""
        import torch

        with torch.inference_mode():
            return self._vision_encoder(pixels.to(self._model.device))[0].to(self._model.dtype)

    def _prepare(self, request: CaptionRequest) -> _Prepared | Reply:
        after_image = self._after.replace("{prompt}", request.prompt)
        ids = self._tokenizer.encode(after_image, add_special_tokens=False)
        length = self._length(ids)
        if length >= self._max_model_len:
            return Reply(
                request.key, "", "unusable", "prompt too long", f"{length} tokens; the model takes {self._max_model_len}"
            )
        sampling = request.sampling
        room = min(sampling.max_tokens, self._max_model_len - length)
        return _Prepared(request, ids, replace(sampling, max_tokens=room, stop=(*sampling.stop, *self._stops)))

    def _length(self, ids: Sequence[int]) -> int:
        return len(self._before) + self._queries + len(ids)

    def _answer(self, batch: list[_Prepared], visual_tokens: VisualTokenCache) -> list[Reply]:
        """The replies to a batch, in parts if it is too large for the memory."""
        try:
            return self._encode_and_generate(batch, visual_tokens)
        except RuntimeError as error:
            if not any(sign in str(error) for sign in OUT_OF_MEMORY):
                raise ModelDied(failure_message(f"MiniGPT-4 with {self.settings.model}", str(error))) from error
            problem = str(error)[:600]
        if len(batch) == 1:
            return [Reply(batch[0].request.key, "", "error", "out of memory", problem)]
        half = len(batch) // 2
        self._batch_size = max(1, min(self._batch_size, half))
        log.warning("out of memory with %d rows at a time; %d from now on", len(batch), self._batch_size)
        return [reply for part in (batch[:half], batch[half:]) for reply in self._answer(part, visual_tokens)]

    def _encode_and_generate(self, batch: Sequence[_Prepared], visual_tokens: VisualTokenCache) -> list[Reply]:
        encoded: list[tuple[_Prepared, Any]] = []
        replies = []
        for each in batch:
            try:
                encoded.append((each, visual_tokens.tokens(each.request.image)))
            except UnreadableImage as error:
                replies.append(Reply(each.request.key, "", "unusable", "unreadable image", str(error)))
        return [*replies, *(self._generate(encoded) if encoded else [])]

    def _generate(self, rows: Sequence[tuple[_Prepared, Any]]) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from shardmill.models.text.row_sampling import RowEnds, RowSampler

        started = time.monotonic()
        samplings = [each.sampling for each, _ in rows]
        ends = RowEnds(self._tokenizer, 0, samplings)  # `generate` returns only new tokens when the prompt is embeddings
        with torch.inference_mode():
            embeddings, mask = self._embed(rows)
            out = self._model.generate(
                inputs_embeds=embeddings,
                attention_mask=mask,
                logits_processor=LogitsProcessorList([RowSampler(samplings, [each.request.seed for each, _ in rows])]),
                stopping_criteria=StoppingCriteriaList([ends]),
                max_new_tokens=max(sampling.max_tokens for sampling in samplings),
                do_sample=False,
                eos_token_id=self._end_ids,
                pad_token_id=self._pad_id,
            )
        seconds = time.monotonic() - started
        return [
            self._reply(each, ids, ends.ends.get(row), seconds)
            for row, ((each, _), ids) in enumerate(zip(rows, out.tolist(), strict=True))
        ]

    def _embed(self, rows: Sequence[tuple[_Prepared, Any]]) -> tuple[Any, Any]:
        """Prompts with their images in place as embeddings (rows, width, hidden size), filled up on the left, and their mask."""
        import torch

        embed = self._model.get_input_embeddings()
        width = max(self._length(each.ids) for each, _ in rows)
        before = embed(torch.tensor(self._before, device=self._model.device))
        embeddings = before.new_zeros(len(rows), width, before.shape[1])
        mask = torch.zeros(len(rows), width, dtype=torch.long, device=before.device)
        for row, (each, visual) in enumerate(rows):
            after = embed(torch.tensor(each.ids, device=before.device))
            embeddings[row, width - self._length(each.ids) :] = torch.cat([before, visual, after])
            mask[row, width - self._length(each.ids) :] = 1
        return embeddings, mask

    def _reply(self, prepared: _Prepared, ids: list[int], end: tuple[int, str] | None, seconds: float) -> Reply:
        from shardmill.models.text.row_sampling import read_answer

        text, finish, written = read_answer(self._tokenizer, ids[: end[0]] if end else ids, self._end_ids, prepared.sampling.stop)
        usage = Usage(self._length(prepared.ids), 0, written, seconds)
        return Reply(prepared.request.key, text.strip(), finish, usage=usage)
