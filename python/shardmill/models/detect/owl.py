"""OWL-ViT and OWLv2: every name is a query of its own, compared with every patch of the image.

Minderer et al., "Simple Open-Vocabulary Object Detection" (2022) and "Scaling Open-Vocabulary Object Detection" (2023). The text
of a name is encoded once and kept. A box's score for a name is taken as it is, whether or not another name scores better there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.contract import DetectRequest
from shardmill.models.detect.detector import Detector, DetectRow, DetectSettings, PreparedDetection, plain_name
from shardmill.models.image_tensors import ImageTensor, pixels_of
from shardmill.models.loading import loading
from shardmill.models.settings import read_settings, require_model
from shardmill.util.errors import UserError

KEPT_NAMES = 100_000


class OwlSettings(DetectSettings):
    """Settings of OWL-ViT and OWLv2."""

    query: str = Field("a photo of a {name}", pattern=r"\{name\}", description="the text that the model is given for a name")
    compile: bool = Field(False, description="torch.compile: 20 % faster after a minute")
    shaping: ClassVar[tuple[str, ...]] = (*DetectSettings.shaping, "compile")


class OwlDetector(Detector):
    """OWL-ViT or OWLv2 through transformers."""

    Settings = OwlSettings
    settings: OwlSettings

    def __init__(self, **settings: Any):
        wanted = read_settings(OwlSettings, settings)
        require_model(wanted.model)
        try:
            from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        dtype = self._prepare(wanted)
        where = wanted.hub_options()
        with loading(wanted.model):
            self._processor = AutoImageProcessor.from_pretrained(wanted.model, **where)
            self._tokenizer = AutoTokenizer.from_pretrained(wanted.model, **where)
            self._model = AutoModelForZeroShotObjectDetection.from_pretrained(wanted.model, **where, dtype=dtype)
            self._model = self._model.to(self.device).eval()
        self._backbone: Any = next(
            (getattr(self._model, name) for name in ("owlvit", "owlv2") if hasattr(self._model, name)), None
        )
        if self._backbone is None:
            raise UserError(f"{wanted.model} is not an OWL-ViT or OWLv2 model but {type(self._model).__name__}")
        self._to_features = self._model.image_embedder
        if wanted.compile:
            import torch

            self._to_features = torch.compile(self._to_features)
            self._batches.size.rows = self._batches.size.limit
        self._pads_to_square = "v2" in type(self._model).__name__
        self._queries: dict[str, Any] = {}

    def _forget(self) -> None:
        self._queries.clear()
        del self._model, self._backbone, self._to_features

    def group(self, request: DetectRequest, loaded: ImageTensor) -> Hashable:
        return None

    def prepare(self, requests: Sequence[DetectRequest], loaded: Sequence[ImageTensor]) -> PreparedDetection:
        pixels = self._processor(images=pixels_of(loaded, self.device), return_tensors="pt", device=self.device).pixel_values
        rows = []
        for at, (each, image) in enumerate(zip(requests, loaded, strict=True)):
            size = image.width, image.height
            square = (
                max(size),
                max(size),
            )  # OWLv2 pads the image to a square, in its upper left corner, and its boxes are relative to the square
            rows.append(DetectRow(at, each.names, size, square if self._pads_to_square else size))
        return PreparedDetection(
            rows, pixels.to(self._model.dtype), [[plain_name(name) for name in each.names] for each in requests]
        )

    def detect(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        queries, mask = self._encoded(prepared.names)
        pixels, rows = prepared.pixels, len(prepared.rows)
        if self.settings.compile and rows < self._batches.size.rows:  # it is compiled for full batches only
            pixels = pixels[[min(row, rows - 1) for row in range(self._batches.size.rows)]]
        features = self._to_features(pixels)[0][:rows]
        positions = features.flatten(1, 2)
        logits, _ = self._model.class_predictor(positions, queries, mask)
        scores = logits.float().sigmoid().where(mask[:, None, :], 0.0)
        return scores, self._model.box_predictor(positions, features)

    def _encoded(self, names: Sequence[Sequence[str]]) -> tuple[Any, Any]:
        """Queries (rows, most names, width) for rows of different lengths, and a mask (rows, most names) of the real ones."""
        import torch

        self._encode(dict.fromkeys(name for row in names for name in row if name))
        max_names = max(1, *(len(row) for row in names))
        padding = torch.zeros(self._backbone.text_projection.out_features, device=self.device, dtype=self._model.dtype)
        queries = [
            torch.stack([*(self._queries.get(name, padding) for name in row), *[padding] * (max_names - len(row))])
            for row in names
        ]
        mask = torch.tensor([[*(bool(name) for name in row), *[False] * (max_names - len(row))] for row in names])
        return torch.stack(queries), mask.to(self.device, non_blocking=True)

    def _encode(self, names: Iterable[str]) -> None:
        """Encode the texts of names that are not kept yet; one that is longer than the encoder takes is cut."""
        if len(self._queries) > KEPT_NAMES:
            self._queries.clear()
        wanted = [name for name in names if name not in self._queries]
        if not wanted:
            return
        texts = [self.settings.query.replace("{name}", name) for name in wanted]
        length = self._backbone.config.text_config.max_position_embeddings
        tokens = self._tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        encoded = self._backbone.get_text_features(**tokens.to(self.device)).pooler_output
        self._queries.update(zip(wanted, encoded, strict=True))
