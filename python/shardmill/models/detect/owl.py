"""OWL-ViT and OWLv2: every name is a query of its own, compared with every place of the picture.

Minderer et al., "Simple Open-Vocabulary Object Detection" (2022) and "Scaling Open-Vocabulary Object Detection" (2023). The text
of a name is encoded once and kept. A box's score for a name is taken as it is, whether or not another name scores better there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.contract import DetectRequest
from shardmill.models.detect.photos import DetectRow, DetectSettings, PhotoDetector, PreparedDetection, plain_name
from shardmill.models.image_tensors import ImageTensor, pixels_of
from shardmill.models.loading import loading
from shardmill.models.settings import read_settings, require_model
from shardmill.util.errors import UserError

KEPT_NAMES = 100_000


class OwlSettings(DetectSettings):
    """Settings of OWL-ViT and OWLv2."""

    query: str = Field("a photo of a {name}", pattern=r"\{name\}", description="the text that a name is looked for with")
    compile: bool = Field(False, description="torch.compile: a fifth faster, a minute later")
    shaping: ClassVar[tuple[str, ...]] = (*DetectSettings.shaping, "compile")


class OwlDetector(PhotoDetector):
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
        dtype = self._begin(wanted)
        with loading(wanted.model):
            self._processor = AutoImageProcessor.from_pretrained(wanted.model, revision=wanted.revision)
            self._tokenizer = AutoTokenizer.from_pretrained(wanted.model, revision=wanted.revision)
            self._model = AutoModelForZeroShotObjectDetection.from_pretrained(wanted.model, revision=wanted.revision, dtype=dtype)
            self._model = self._model.to(self.device).eval()
        self._backbone: Any = next(
            (getattr(self._model, name) for name in ("owlvit", "owlv2") if hasattr(self._model, name)), None
        )
        if self._backbone is None:
            raise UserError(f"{wanted.model} is no OWL-ViT or OWLv2 model but {type(self._model).__name__}")
        self._to_features = self._model.image_embedder
        if wanted.compile:
            import torch

            self._to_features = torch.compile(self._to_features)
            self._batches.size.now = self._batches.size.most
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
        for at, (each, picture) in enumerate(zip(requests, loaded, strict=True)):
            size = picture.width, picture.height
            square = max(size), max(size)  # OWLv2 sees the picture in the upper left corner of one
            rows.append(DetectRow(at, each.names, size, square if self._pads_to_square else size))
        return PreparedDetection(
            rows, pixels.to(self._model.dtype), [[plain_name(name) for name in each.names] for each in requests]
        )

    def look(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        queries, asked = self._encoded(prepared.names)
        pixels, rows = prepared.pixels, len(prepared.rows)
        if self.settings.compile and rows < self._batches.size.now:  # compiled for one size of batch
            pixels = pixels[[min(row, rows - 1) for row in range(self._batches.size.now)]]
        features = self._to_features(pixels)[0][:rows]
        places = features.flatten(1, 2)
        logits, _ = self._model.class_predictor(places, queries, asked)
        scores = logits.float().sigmoid().where(asked[:, None, :], 0.0)
        return scores, self._model.box_predictor(places, features)

    def _encoded(self, names: Sequence[Sequence[str]]) -> tuple[Any, Any]:
        """The queries (rows, most names, width) of names that are ragged, and which of them (rows, most names) are asked."""
        import torch

        self._encode(dict.fromkeys(name for row in names for name in row if name))
        most = max(1, *(len(row) for row in names))
        nothing = torch.zeros(self._backbone.text_projection.out_features, device=self.device, dtype=self._model.dtype)
        queries = [
            torch.stack([*(self._queries.get(name, nothing) for name in row), *[nothing] * (most - len(row))]) for row in names
        ]
        asked = torch.tensor([[*(bool(name) for name in row), *[False] * (most - len(row))] for row in names])
        return torch.stack(queries), asked.to(self.device, non_blocking=True)

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
