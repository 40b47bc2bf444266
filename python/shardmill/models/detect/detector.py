"""What all detectors have in common: settings, the form of names, batches in and detection results out."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.batches import Batches, BatchSize
from shardmill.models.contract import DetectionResult, DetectRequest, Reply, Usage
from shardmill.models.detect.results import best_boxes, detection_results
from shardmill.models.failures import failure_message
from shardmill.models.image_tensors import Decoder, ImageTensor, can_decode_on_gpu, load_image_tensor
from shardmill.models.loading import device_of, dtype_of
from shardmill.models.settings import ModelSettings, SettingsModel
from shardmill.util.errors import ModelDied


@dataclass(frozen=True)
class DetectRow:
    """One pass of a detector over one image.

    `of` is the number of its request in the batch, `names` what is detected in this pass, `size` the image's width and height in
    pixels, `scale` the width and height in pixels that boxes are relative to.
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


NOT_A_WORD = re.compile(r"[^\w']+")


class DetectSettings(ModelSettings):
    """Settings of a detector."""

    shaping: ClassVar[tuple[str, ...]] = (*ModelSettings.shaping, "dtype", "query", "box_score", "decoder")

    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: bfloat16 on a GPU, float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    query: str = Field("{name}", pattern=r"\{name\}", description="the text that the model is given for a name")
    box_score: float = Field(0.05, ge=0, le=1, description="drop boxes below this score, except the best of a name")
    max_batch_size: int = Field(64, ge=1, description="largest batch; batches grow until memory is full, then halve")
    decoder: Decoder = Field("auto", description="pillow, nvjpeg (the GPU's), or auto: nvjpeg where there is CUDA")
    threads: int | None = Field(default=None, ge=1, description="threads that read and decode; all cores if not given")


def plain_name(name: str) -> str:
    """A name as the model is given it: in lower case, without hyphens and other marks, some of which separate names.

    >>> plain_name("T-Shirt (red)")
    't shirt red'
    """
    return NOT_A_WORD.sub(" ", name.lower()).strip()


class Detector(SettingsModel):
    """A detector: a subclass loads its model in `__init__` and says how names and images become scores and boxes."""

    settings: DetectSettings
    device: str
    _batches: Batches[DetectRequest]

    def _prepare(self, settings: DetectSettings) -> Any:
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
        """Drop all references to the model."""

    @abstractmethod
    def group(self, request: DetectRequest, loaded: ImageTensor) -> Hashable:
        """See `batches.Steps`."""

    @abstractmethod
    def prepare(self, requests: Sequence[DetectRequest], loaded: Sequence[ImageTensor]) -> PreparedDetection:
        """See `batches.Steps`."""

    @abstractmethod
    def detect(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        """Run the model on a batch.

        Returns:
            Scores (rows, boxes, names) in [0, 1], 0 where a row has fewer names than others; and boxes (rows, boxes, 4) as
            center x, center y, width, height, in [0, 1] of the image.
        """

    def stream(self, requests: Iterable[DetectRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        return self._batches.stream(requests)

    def load(self, request: DetectRequest) -> ImageTensor:
        return load_image_tensor(request.image, self._on_gpu)

    def run(self, requests: Sequence[DetectRequest], prepared: PreparedDetection) -> Any:
        import torch

        with torch.inference_mode():
            scores, boxes = self.detect(prepared)
            best = [part.to("cpu", non_blocking=True) for part in best_boxes(scores.float(), boxes.float())]
        return prepared.rows, best, torch.cuda.current_stream(self.device).record_event() if self.fills_gpu else None

    def replies(self, requests: Sequence[DetectRequest], outcome: Any, seconds: float) -> list[Reply]:
        rows, (scores, boxes), launched = outcome
        if launched is not None:
            launched.synchronize()
        finite = scores.isfinite().flatten(1).all(1).tolist()
        if len(rows) > 1 and not any(finite):
            raise ModelDied(
                failure_message(f"the detector {self.settings.model}", "its scores are not finite; try dtype: float32")
            )
        not_finite = {row.of for row, is_finite in zip(rows, finite, strict=True) if not is_finite}
        found: list[dict[str, DetectionResult]] = [{} for _ in requests]
        for row, row_scores, row_boxes in zip(rows, scores.tolist(), boxes.tolist(), strict=True):
            found[row.of].update(
                detection_results(row.names, row_scores, row_boxes, row.size, row.scale, self.settings.box_score)
            )
        usage = Usage(seconds=seconds)
        return [
            Reply(request.key, None, "unusable", "scores are not finite", "try dtype: float32", usage)
            if at in not_finite
            else Reply(request.key, each, usage=usage)
            for at, (request, each) in enumerate(zip(requests, found, strict=True))
        ]
