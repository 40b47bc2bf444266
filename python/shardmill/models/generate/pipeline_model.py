"""Pipelines of diffusers that make images, in batches: what text-to-image models and image editors share.

While one batch is denoised, the next one's prompts are encoded and the last one's images written, in threads. An image's name
follows from what it is made from: one whose file exists is not made again.
"""

from __future__ import annotations

import logging
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from pydantic import Field

from shardmill.models.contract import EditRequest, GeneratedImage, GenerateRequest, Reply, Request, Usage
from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.models.generate.store import Format, code_digest, image_problem, save_image
from shardmill.models.loading import device_of
from shardmill.models.settings import ModelSettings, SettingsModel, read_settings, require_model
from shardmill.models.weights import refuse_code
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

WINDOW = 4
"""Batches' worth of requests to choose a batch from."""
WRITERS = 4
FLOAT16 = re.compile(r"StableDiffusion(?!3)")
"""Pipelines whose weights were made for float16; later ones overflow in it."""


class PipelineSettings(ModelSettings):
    """Settings of any diffusers pipeline."""

    variant: str | None = Field(default=None, description="which files of the weights, such as fp16")
    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: what suits the pipeline; float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    steps: int = Field(28, ge=1, le=1000, description="denoising steps: more take longer")
    negative: str = Field("", description="negative prompt added to every request")
    max_batch_size: int = Field(8, ge=1, description="batch size; halved when out of memory")
    compile: bool = Field(False, description="compile the model: minutes at the start, faster from then on")
    format: Format = Field("jpg", description="jpg or png")
    quality: int = Field(95, ge=1, le=100, description="JPEG quality")
    offload: bool = Field(False, description="keep on the GPU only what is running: less memory, slower")


@dataclass(frozen=True)
class PreparedRequest:
    """A request, its prepared prompt, and the file for its image."""

    request: GenerateRequest | EditRequest
    prepared: Any
    file: str

    @property
    def path(self) -> Path:
        return Path(self.request.folder) / self.file


@dataclass(frozen=True)
class _Batch:
    """Requests of one shape. `size` counts the rows that fill it up too; `conditions` gives the pipeline's prompt arguments."""

    rows: list[PreparedRequest]
    size: int
    conditions: Callable[[], dict[str, Any]]


class DiffusersModel(SettingsModel):
    """A diffusers pipeline that makes images in batches.

    Attributes:
        code: The modules whose code decides what an image looks like.
    """

    Settings: ClassVar[type[PipelineSettings]]
    code: ClassVar[tuple[str, ...]]

    def __init__(self, **settings: Any):
        self.settings = wanted = read_settings(self.Settings, settings)
        require_model(wanted.model, "model_index.json")
        try:
            import_module("torch")
            import_module("diffusers")
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        self._device = device_of(wanted.device)
        self._pipe, self._dtype = self._load()
        parameters = signature(self._pipe.__call__).parameters
        self._options = {name: value for name, value in self.call_options(parameters).items() if name in parameters}
        self._prompts = self.prompt_encoder(parameters)
        shaping = wanted.model_dump(mode="json", include={*wanted.shaping})
        self._drawn_by = {**shaping, **self.identity(**settings), "dtype": self._dtype, "code": code_digest(*self.code)}
        self._batch_size = wanted.max_batch_size
        self.fills_gpu = self._device != "cpu"

    @abstractmethod
    def call_options(self, parameters: Collection[str]) -> dict[str, Any]:
        """The arguments of every call of the pipeline. Raises UserError for a pipeline of another kind."""

    @abstractmethod
    def prompt_encoder(self, parameters: Collection[str]) -> Any:
        """What encodes the prepared requests of a batch."""

    @abstractmethod
    def prepare(self, request: Any) -> PreparedRequest | Reply:
        """A request ready to be run; the reply if its image exists already, or if it never can be."""

    def left_out(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Parts of the pipeline that are not loaded. Raises UserError for settings that do not fit the pipeline."""
        return ()

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        del self._pipe, self._prompts
        torch.cuda.empty_cache()

    def _load(self) -> tuple[Any, str]:
        """The pipeline, ready to run, and the name of its dtype."""
        import torch

        diffusers: Any = import_module("diffusers")
        wanted = self.settings
        refuse_code(wanted.model)
        diffusers.utils.logging.disable_progress_bar()
        try:
            config = diffusers.DiffusionPipeline.load_config(wanted.model, revision=wanted.revision)
            left_out = self.left_out(config)
            on_gpu = "float16" if FLOAT16.match(config["_class_name"]) else "bfloat16"
            dtype = wanted.dtype if wanted.dtype != "auto" else "float32" if self._device == "cpu" else on_gpu
            if not isinstance(torch_dtype := getattr(torch, dtype, None), torch.dtype):
                raise UserError(f"setting dtype of the model: there is no dtype {dtype!r}")
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                wanted.model,
                revision=wanted.revision,
                variant=wanted.variant,
                dtype=torch_dtype,
                **dict.fromkeys(left_out),
            )
            return self._configured(pipe), dtype
        except (OSError, ValueError) as error:
            raise UserError(f"diffusers cannot load {wanted.model}: {' '.join(str(error).split())[:600]}") from error
        except RuntimeError as error:
            raise ModelDied(failure_message(f"diffusers with {wanted.model}", str(error))) from error

    def _configured(self, pipe: Any) -> Any:
        pipe.set_progress_bar_config(disable=True)
        if hasattr(getattr(pipe, "vae", None), "enable_slicing"):
            pipe.vae.enable_slicing()  # decoding a whole batch at once takes more memory than denoising it
        if self.settings.offload and self._device != "cpu":
            pipe.enable_model_cpu_offload(device=self._device)
        else:
            pipe.to(self._device)
        if self.settings.compile:
            (getattr(pipe, "transformer", None) or pipe.unet).compile()
        return pipe

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. A few batches' worth of requests are taken ahead, to choose batches from."""
        source = iter(requests)
        waiting: list[PreparedRequest] = []
        running: _Batch | None = None
        writing: list[Future[Reply]] = []
        encoder = ThreadPoolExecutor(1, "encode-prompts")
        writers = ThreadPoolExecutor(WRITERS, "write-images")
        try:
            while True:
                while len(waiting) < WINDOW * self._batch_size and (request := next(source, None)) is not None:
                    row = self.prepare(request)
                    if isinstance(row, Reply):
                        yield row
                    else:
                        waiting.append(row)
                stopping = stop_requested()
                encoded = self._batch(self._next_batch(waiting), encoder) if waiting and not stopping else None
                written, writing = writing, []
                if running is not None and not stopping:
                    writing = [writers.submit(*work) for work in self._generate(running)]
                for future in written:
                    yield future.result()
                if encoded is None and not writing:
                    return
                running = encoded
        finally:
            encoder.shutdown(cancel_futures=True)
            writers.shutdown(cancel_futures=True)

    def _next_batch(self, waiting: list[PreparedRequest]) -> list[PreparedRequest]:
        """Take a batch out of `waiting`: the request that waits longest, with those that have its shape."""
        shape = waiting[0].prepared.shape
        batch = [row for row in waiting if row.prepared.shape == shape][: self._batch_size]
        chosen = {id(row) for row in batch}
        waiting[:] = [row for row in waiting if id(row) not in chosen]
        return batch

    def _batch(self, rows: list[PreparedRequest], encoder: ThreadPoolExecutor | None = None) -> _Batch:
        """A batch whose prompts are encoded from now on, by the thread of `encoder`.

        With `offload`, only when it is generated: two models at work would push each other off the GPU. A compiled model gets
        full batches only: it would be compiled anew for each size.
        """
        size = max(len(rows), self._batch_size) if self.settings.compile else len(rows)
        prepared = [row.prepared for row in (*rows, *[rows[-1]] * (size - len(rows)))]
        encode = partial(self._prompts.encode, prepared)
        if encoder is None or self.settings.offload:
            return _Batch(rows, size, encode)
        return _Batch(rows, size, encoder.submit(encode).result)

    def _generate(self, batch: _Batch) -> list[tuple[Any, ...]]:
        """Generate a batch, in parts if it does not fit into memory. Returns a call for each row, for a writer thread."""
        import torch

        started = time.monotonic()
        try:
            images, flagged = self._run_pipeline(batch)
            usage = Usage(seconds=time.monotonic() - started)
            rows = zip(batch.rows, images, flagged, strict=False)  # the rows that only fill up are left out
            return [(self.save_checked, row, image, unsafe, usage) for row, image, unsafe in rows]
        except RuntimeError as error:
            if not any(sign in str(error) for sign in OUT_OF_MEMORY):
                raise ModelDied(failure_message(f"diffusers with {self.settings.model}", str(error))) from error
            problem = str(error)[:600]
        except ValueError as error:
            raise UserError(f"{self.settings.model} cannot generate images with these settings: {str(error)[:600]}") from error
        torch.cuda.empty_cache()
        if batch.size == 1:
            return [(Reply, batch.rows[0].request.key, None, "error", "out of memory", problem)]
        self._batch_size = half = max(1, min(self._batch_size, batch.size // 2))
        log.warning("out of memory with %d images at a time; %d from now on", batch.size, half)
        parts = [batch.rows[start : start + half] for start in range(0, len(batch.rows), half)]
        return [work for part in parts for work in self._generate(self._batch(part))]

    def _run_pipeline(self, batch: _Batch) -> tuple[list[Image.Image], list[bool]]:
        """The images of a batch, and whether the pipeline flags them as unsafe.

        Each row has a random generator of its own, on the CPU: its initial noise depends neither on its batch nor on the GPU.
        """
        import torch

        seeds = [row.request.seed % (1 << 63) for row in batch.rows]
        seeds += [seeds[-1]] * (batch.size - len(seeds))
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        with torch.no_grad():
            made = self._pipe(**batch.conditions(), generator=generators, **self._options)
        flagged = getattr(made, "nsfw_content_detected", None) or [False] * batch.size
        return made.images, flagged

    def save_checked(self, row: PreparedRequest, image: Image.Image, unsafe: bool, usage: Usage) -> Reply:
        """Check an image and write its file."""
        problem = "flagged as unsafe" if unsafe else image_problem(image)
        if problem is not None:
            return Reply(row.request.key, None, "error", problem, usage=usage)
        try:
            save_image(image, row.path, self.settings.quality)
        except OSError as error:
            raise UserError(f"cannot write the image {row.path}: {error}") from error
        return Reply(row.request.key, GeneratedImage(row.file, *image.size), usage=usage)


def encodable(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()
