"""CLIP and SigLIP: the cosine between an image and texts, and with a head for it, an aesthetic score of the image.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021); Zhai et al., "Sigmoid Loss for
Language Image Pre-Training" (2023). Images go through the model in batches, texts are encoded once and kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.batches import Batches, BatchSize
from shardmill.models.contract import Reply, ScoreRequest, Scores, Usage
from shardmill.models.failures import failure_message
from shardmill.models.image_tensors import Decoder, ImageTensor, can_decode_on_gpu, load_image_tensor, pixels_of
from shardmill.models.loading import device_of, dtype_of, loading
from shardmill.models.score.aesthetic import head_digest, read_head
from shardmill.models.settings import ModelSettings, SettingsModel, read_settings, require_model
from shardmill.util.errors import ModelDied, UserError

FAMILIES = ("clip", "siglip")
KEPT_TEXTS = 20_000
TEXTS_AT_ONCE = 256
MAX_CHARACTERS = 8_000
"""Longer texts are cut: the rest is far behind the last token that the text encoder takes."""
MAX_ASPECT = 8
"""Of an image longer than so many times its short side only the middle is resized: the rest would be cropped afterwards, and a
line of pixels scaled up as a whole takes gigabytes."""


class ClipSettings(ModelSettings):
    """Settings of CLIP and SigLIP."""

    shaping: ClassVar[tuple[str, ...]] = (*ModelSettings.shaping, "dtype", "aesthetic", "aesthetic_relu", "decoder")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: float16 on a GPU, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    aesthetic: str | None = Field(None, description="path of an aesthetic head for this model: a .pth or .safetensors state dict")
    aesthetic_relu: bool = Field(False, description="whether the head was trained with ReLUs between its layers")
    max_batch_size: int = Field(256, ge=1, description="largest batch; batches grow until memory is full, then halve")
    decoder: Decoder = Field("auto", description="pillow, nvjpeg (the GPU's), or auto: nvjpeg where there is CUDA")
    threads: int | None = Field(default=None, ge=1, description="threads that read and decode; all cores if not given")

    def identity(self) -> dict[str, str]:
        digest = head_digest(self.aesthetic) if self.aesthetic else ""
        return {**super().identity(), **({"aesthetic": digest} if digest else {})}


@dataclass(frozen=True)
class PreparedScore:
    """A batch: pixels (images, 3, height, width), the texts of each image, and the token ids of each text of the batch."""

    pixels: Any
    texts: Sequence[Sequence[str]]
    tokens: Mapping[str, Mapping[str, Any]]


def plain_text(text: str) -> str:
    """A text as it is tokenised: without line breaks and lone surrogates, cut at MAX_CHARACTERS.

    >>> plain_text(" a  dog\\n on grass ")
    'a dog on grass'
    """
    return " ".join(text.encode("utf-8", "replace").decode().split())[:MAX_CHARACTERS]


class ClipScorer(SettingsModel):
    """CLIP or SigLIP through transformers."""

    Settings = ClipSettings

    def __init__(self, **settings: Any):
        wanted = read_settings(ClipSettings, settings)
        require_model(wanted.model)
        try:
            import torch
            from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        self.settings = wanted
        self.device = device_of(wanted.device)
        self.fills_gpu = self.device != "cpu"
        dtype = dtype_of(wanted.dtype, torch.float16 if self.fills_gpu else torch.float32)
        where = wanted.hub_options()
        with loading(wanted.model):
            family = AutoConfig.from_pretrained(wanted.model, **where).model_type
            if family not in FAMILIES:
                raise UserError(f"{wanted.model} is not a CLIP or SigLIP model but of the family {family!r}")
            self._processor = AutoImageProcessor.from_pretrained(wanted.model, **where)
            self._tokenizer = AutoTokenizer.from_pretrained(wanted.model, **where)
            self._model = AutoModel.from_pretrained(wanted.model, **where, dtype=dtype).to(self.device).eval()
        config = self._model.config
        width = config.projection_dim if family == "clip" else config.vision_config.hidden_size
        self._head = read_head(wanted.aesthetic, width, wanted.aesthetic_relu).to(self.device) if wanted.aesthetic else None
        self._crops = bool(getattr(self._processor, "do_center_crop", False))
        self._texts: dict[str, Any] = {}
        self._on_gpu = can_decode_on_gpu(wanted.decoder, self.device)
        self._name = f"the scorer {wanted.model}"
        self._batches = Batches(self, BatchSize(wanted.max_batch_size), self._name, wanted.threads)

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        self._batches.close()
        self._texts.clear()
        del self._model, self._head
        torch.cuda.empty_cache()

    def stream(self, requests: Iterable[ScoreRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        return self._batches.stream(requests)

    def load(self, request: ScoreRequest) -> ImageTensor:
        return load_image_tensor(request.image, self._on_gpu)

    def group(self, request: ScoreRequest, loaded: ImageTensor) -> Hashable:
        return None

    def prepare(self, requests: Sequence[ScoreRequest], loaded: Sequence[ImageTensor]) -> PreparedScore:
        images = [_middle(each) if self._crops else each for each in pixels_of(loaded, self.device)]
        pixels = self._processor(
            images=images, input_data_format="channels_first", return_tensors="pt", device=self.device
        ).pixel_values
        texts = [[plain_text(text) for text in each.texts] for each in requests]
        return PreparedScore(pixels.to(self._model.dtype), texts, self._tokens(texts))

    def _tokens(self, texts: Sequence[Sequence[str]]) -> dict[str, dict[str, Any]]:
        """Token ids and mask of each text, padded to the encoder's length, where it is cut."""
        different = list(dict.fromkeys(text for row in texts for text in row if text))
        if not different:
            return {}
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(different, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return {text: {name: values[at] for name, values in tokens.items()} for at, text in enumerate(different)}

    def run(self, requests: Sequence[ScoreRequest], prepared: PreparedScore) -> Any:
        import torch

        with torch.inference_mode():
            embeddings = _unit(self._model.get_image_features(pixel_values=prepared.pixels).pooler_output)
            self._encode(prepared.tokens)
            zero = torch.zeros_like(embeddings[0])
            of = [at for at, row in enumerate(prepared.texts) for _ in row]
            texts = [self._texts.get(text, zero) for row in prepared.texts for text in row]
            cosines = (embeddings[of] * torch.stack(texts)).sum(-1).clamp(-1, 1) if texts else zero[:0]
            aesthetic_scores = embeddings.sum(-1) if self._head is None else self._head(embeddings)[:, 0]
            results = [part.to("cpu", non_blocking=True) for part in (cosines, aesthetic_scores)]
        return prepared.texts, results, torch.cuda.current_stream(self.device).record_event() if self.fills_gpu else None

    def _encode(self, tokens: Mapping[str, Mapping[str, Any]]) -> None:
        """Encode the texts that are not kept yet."""
        import torch

        if len(self._texts) > KEPT_TEXTS:
            self._texts.clear()
        wanted = [text for text in tokens if text not in self._texts]
        for start in range(0, len(wanted), TEXTS_AT_ONCE):
            some = wanted[start : start + TEXTS_AT_ONCE]
            names = tokens[some[0]]
            inputs = {name: torch.stack([tokens[text][name] for text in some]).to(self.device) for name in names}
            self._texts.update(zip(some, _unit(self._model.get_text_features(**inputs).pooler_output), strict=True))

    def replies(self, requests: Sequence[ScoreRequest], outcome: Any, seconds: float) -> list[Reply]:
        texts, (cosines, aesthetic_scores), launched = outcome
        if launched is not None:
            launched.synchronize()
        finite = aesthetic_scores.isfinite().tolist()
        if len(requests) > 1 and not any(finite):
            raise ModelDied(failure_message(self._name, "its scores are not finite; try dtype: float32"))
        usage = Usage(seconds=seconds)
        replies, start = [], 0
        for request, row, aesthetic, is_finite in zip(requests, texts, aesthetic_scores.tolist(), finite, strict=True):
            found = cosines[start : start + len(row)]
            start += len(row)
            if not is_finite or not bool(found.isfinite().all()):
                replies.append(Reply(request.key, None, "unusable", "scores are not finite", "try dtype: float32", usage))
            else:
                scores = Scores(tuple(found.tolist()), None if self._head is None else aesthetic)
                replies.append(Reply(request.key, scores, usage=usage))
        return replies


def _middle(pixels: Any) -> Any:
    """Pixels (3, height, width) without the ends of an image that is much longer than its short side."""
    _, height, width = pixels.shape
    most = MAX_ASPECT * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    return pixels[:, top : height - top, left : width - left]


def _unit(vectors: Any) -> Any:
    """Vectors (rows, width) in float32, of length 1."""
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1)
