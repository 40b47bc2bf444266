"""What all detectors of photos have in common: settings, names as they are asked, and how batches are fed and told."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.batches import Batches, BatchSize
from shardmill.models.contract import DetectionResult, DetectRequest, Reply, Usage
from shardmill.models.detect.results import best_boxes, findings
from shardmill.models.faults import last_words
from shardmill.models.image_tensors import Decoder, ImageTensor, can_decode_on_gpu, load_picture
from shardmill.models.loading import device_of, dtype_of
from shardmill.models.settings import ModelSettings, SettingsModel
from shardmill.util.errors import ModelDied


@dataclass(frozen=True)
class DetectRow:
    """One pass over one picture: of which request of the batch, for which names, the picture's width and height in pixels, and
    the width and height that boxes are relative to.
    """

    of: int
    names: tuple[str, ...]
    size: tuple[int, int]
    scale: tuple[int, int]


@dataclass(frozen=True)
class PreparedDetection:
    """A batch: its rows, their pixels (rows, 3, height, width), and what the detector needs of their names."""

    rows: Sequence[DetectRow]
    pixels: Any
    names: Any


NO_WORD = re.compile(r"[^\w']+")


class DetectSettings(ModelSettings):
    """Settings of a detector of photos."""

    shaping: ClassVar[tuple[str, ...]] = (*ModelSettings.shaping, "dtype", "query", "box_score", "decoder")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: bfloat16 on a GPU, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    query: str = Field("{name}", pattern=r"\{name\}", description="the text that a name is looked for with")
    box_score: float = Field(0.05, ge=0, le=1, description="boxes are told from this score on; the best score of a name always")
    max_batch_size: int = Field(64, ge=1, description="found by itself up to here: grows until memory is full, halves when it is")
    decoder: Decoder = Field("auto", description="pillow, nvjpeg (the GPU's), or auto: nvjpeg where there is CUDA")
    threads: int | None = Field(default=None, ge=1, description="threads that read and decode; all cores if not given")


def plain_name(name: str) -> str:
    """A name as it is asked for: lower case, and neither hyphens nor other marks, which some text encoders take for commands.

    >>> plain_name("T-Shirt (red)")
    't shirt red'
    """
    return NO_WORD.sub(" ", name.lower()).strip()


class PhotoDetector(SettingsModel):
    """A detector of photos: a subclass loads its model in `__init__` and says how names and pictures become scores and boxes."""

    settings: DetectSettings
    device: str
    _batches: Batches[DetectRequest]

    def _begin(self, settings: DetectSettings) -> Any:
        """Take the settings and start the threads; returns the torch dtype to load the model in."""
        import torch

        self.settings = settings
        self.device = device_of(settings.device)
        self.fills_gpu = self.device != "cpu"
        self._on_gpu = can_decode_on_gpu(settings.decoder, self.device)
        self._batches = Batches(self, BatchSize(settings.max_batch_size), f"the detector {settings.model}", settings.threads)
        return dtype_of(settings.dtype, torch.float32 if self.device == "cpu" else torch.bfloat16)

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        self._batches.close()
        self._forget()
        torch.cuda.empty_cache()

    @abstractmethod
    def _forget(self) -> None:
        """Let go of the model."""

    @abstractmethod
    def group(self, request: DetectRequest, loaded: ImageTensor) -> Hashable:
        """See `batches.Steps`."""

    @abstractmethod
    def prepare(self, requests: Sequence[DetectRequest], loaded: Sequence[ImageTensor]) -> PreparedDetection:
        """See `batches.Steps`."""

    @abstractmethod
    def look(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        """Scores (rows, boxes, names) in [0, 1] and boxes (rows, boxes, 4), relative to the picture, as center x, center y,
        width, height. What a row has no name for scores 0.
        """

    def stream(self, requests: Iterable[DetectRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        return self._batches.stream(requests)

    def load(self, request: DetectRequest) -> ImageTensor:
        return load_picture(request.image, self._on_gpu)

    def run(self, requests: Sequence[DetectRequest], prepared: PreparedDetection) -> Any:
        import torch

        with torch.inference_mode():
            scores, boxes = self.look(prepared)
            best = [part.to("cpu", non_blocking=True) for part in best_boxes(scores.float(), boxes.float())]
        return prepared.rows, best, torch.cuda.current_stream(self.device).record_event() if self.fills_gpu else None

    def replies(self, requests: Sequence[DetectRequest], outcome: Any, seconds: float) -> list[Reply]:
        rows, (scores, boxes), launched = outcome
        if launched is not None:
            launched.synchronize()
        finite = scores.isfinite().flatten(1).all(1).tolist()
        if len(rows) > 1 and not any(finite):
            raise ModelDied(last_words(f"the detector {self.settings.model}", "its scores are no numbers; try dtype: float32"))
        spoilt = {row.of for row, sound in zip(rows, finite, strict=True) if not sound}
        found: list[dict[str, DetectionResult]] = [{} for _ in requests]
        for row, row_scores, row_boxes in zip(rows, scores.tolist(), boxes.tolist(), strict=True):
            found[row.of].update(findings(row.names, row_scores, row_boxes, row.size, row.scale, self.settings.box_score))
        usage = Usage(seconds=seconds)
        return [
            Reply(request.key, None, "unusable", "scores are no numbers", "try dtype: float32", usage)
            if at in spoilt
            else Reply(request.key, each, usage=usage)
            for at, (request, each) in enumerate(zip(requests, found, strict=True))
        ]
