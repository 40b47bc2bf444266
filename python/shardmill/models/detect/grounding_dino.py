"""Grounding DINO through transformers: each name is scored by the tokens of its own span.

Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection" (2023). All names of a row go
into one pass; only more than 256 tokens of them take another.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.contract import DetectRequest
from shardmill.models.detect.detector import Detector, DetectRow, DetectSettings, PreparedDetection, plain_name
from shardmill.models.image_tensors import ImageTensor, pixels_of
from shardmill.models.loading import loading
from shardmill.models.settings import read_settings, require_model
from shardmill.util.errors import UserError


class GroundingDinoSettings(DetectSettings):
    """Settings of Grounding DINO."""

    shaping: ClassVar[tuple[str, ...]] = (*DetectSettings.shaping, "short_side", "long_side", "size_step")

    short_side: int = Field(800, ge=32, description="images are scaled to this short side")
    long_side: int = Field(1333, ge=32, description="but to no longer a long side than this")
    size_step: int = Field(
        32,
        ge=1,
        description="the long side is rounded to multiples of it, so that more images share a batch; 1: no rounding",
    )

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The width and height that an image is scaled to."""
        short, long = sorted((width, height))
        wanted = min(self.short_side, self.long_side * short / long)
        new_long = max(self.size_step, round(wanted * long / short / self.size_step) * self.size_step)
        new_short = max(1, round(wanted)) if short < long else new_long
        return (new_long, new_short) if width > height else (new_short, new_long)


class DinoDetector(Detector):
    """What both implementations of Grounding DINO have in common: sizes, passages, scores."""

    settings: GroundingDinoSettings
    _processor: Any
    _phrases: Any
    _dtype: Any
    _pad: int

    def group(self, request: DetectRequest, loaded: ImageTensor) -> Hashable:
        return self.settings.scaled(loaded.width, loaded.height)

    def prepare(self, requests: Sequence[DetectRequest], loaded: Sequence[ImageTensor]) -> PreparedDetection:
        width, height = self.settings.scaled(loaded[0].width, loaded[0].height)
        size = {"height": height, "width": width}
        pixels = self._processor(
            images=pixels_of(loaded, self.device), size=size, do_pad=False, return_tensors="pt", device=self.device
        ).pixel_values
        passages = []
        rows = []
        for at, (request, image) in enumerate(zip(requests, loaded, strict=True)):
            texts = [self.settings.query.replace("{name}", plain_name(name)) for name in request.names]
            for passage in self._phrases.passages(request.names, texts):
                passages.append(passage)
                rows.append(DetectRow(at, passage.names, (image.width, image.height), (image.width, image.height)))
        if len(rows) > len(requests):  # some names need another pass over the same image
            pixels = pixels[[row.of for row in rows]]
        return PreparedDetection(rows, pixels.to(self._dtype), passages)


class GroundingDinoDetector(DinoDetector):
    """Grounding DINO through transformers."""

    Settings = GroundingDinoSettings

    def __init__(self, **settings: Any):
        wanted = read_settings(GroundingDinoSettings, settings)
        require_model(wanted.model)
        try:
            from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

            from shardmill.models.detect.phrases import PhraseEncoder, Phrases
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        self._dtype = self._prepare(wanted)
        where = wanted.hub_options()
        with loading(wanted.model):
            self._processor = AutoImageProcessor.from_pretrained(wanted.model, **where)
            tokenizer = AutoTokenizer.from_pretrained(wanted.model, **where)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(wanted.model, **where, dtype=self._dtype)
            model = model.to(self.device).eval()
        if not hasattr(getattr(model, "model", None), "text_backbone"):
            raise UserError(f"{wanted.model} is not a Grounding DINO model but {type(model).__name__}")
        self._model = model
        self._phrases, self._pad = Phrases(tokenizer), tokenizer.pad_token_id or 0
        self._text = PhraseEncoder(model.model.text_backbone)
        self._text.special = frozenset(tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"]))
        model.model.text_backbone = self._text
        model.model.encoder.register_forward_pre_hook(self._with_positions, with_kwargs=True)

    def _forget(self) -> None:
        del self._model, self._text

    def detect(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        from shardmill.models.detect.phrases import name_scores, padded, position_ids

        ids, mask = padded(prepared.names, self._pad, self.device)
        self._text.read(prepared.names)
        self._positions = position_ids(prepared.names, ids.shape[1], self.device).to(self._dtype)
        out = self._model(pixel_values=prepared.pixels, input_ids=ids, attention_mask=mask)
        return name_scores(out.logits, prepared.names), out.pred_boxes

    def _with_positions(self, _encoder: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The position ids that the weights were trained with.

        transformers 5 counts the full stop that ends a name as the first token of the next block, and computes the sinusoidal
        encoding of integer positions in integers, which rounds it to -1, 0 and 1.
        """
        return inputs, {**named, "text_position_ids": self._positions}
