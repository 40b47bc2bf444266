"""Images by any text-to-image pipeline of diffusers; weighted prompts for Stable Diffusion 3 and XL.

While one batch is denoised, the next one's prompts are encoded and the last one's images written, in threads. An image's name
follows from what it is generated from: one whose file exists is not generated again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import Field

from shardmill.models.contract import GeneratedImage, GenerateRequest, Reply, Request, Usage
from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.models.generate.embeddings import PromptTooLong, WeightedPrompts, check_length, takes_weights
from shardmill.models.generate.prompt_weights import fragments, plain
from shardmill.models.generate.store import Format, code_digest, image_digest, image_file, image_problem, save_image, saved_size
from shardmill.models.loading import device_of
from shardmill.models.settings import ModelSettings, SettingsModel, read_settings, require_model
from shardmill.models.weights import refuse_code
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

WINDOW = 4
"""Batches' worth of requests to choose a batch from."""
WRITERS = 4


class GenerateSettings(ModelSettings):
    """Settings of a diffusers pipeline."""

    shaping = (
        *ModelSettings.shaping,
        *("variant", "dtype", "width", "height", "steps", "guidance", "negative", "drop_t5", "format", "quality"),
    )

    variant: str | None = Field(default=None, description="which files of the weights, such as fp16")
    dtype: str = Field("auto", description="bfloat16, float16, float32, or auto: what suits the pipeline; float32 on a CPU")
    device: str = Field("auto", description="cuda, cpu, or auto")
    width: int = Field(1024, ge=16, le=4096, multiple_of=8, description="width of the images in pixels")
    height: int = Field(1024, ge=16, le=4096, multiple_of=8, description="height of the images in pixels")
    steps: int = Field(28, ge=1, le=1000, description="denoising steps: more take longer")
    guidance: float = Field(7.0, ge=0, le=100, description="guidance scale")
    negative: str = Field("", description="negative prompt added to every request")
    max_batch_size: int = Field(8, ge=1, description="batch size; halved when out of memory")
    compile: bool = Field(False, description="compile the model: minutes at the start, faster from then on")
    format: Format = Field("jpg", description="jpg or png")
    quality: int = Field(95, ge=1, le=100, description="JPEG quality")
    drop_t5: bool = Field(False, description="leave out the large text encoder of Stable Diffusion 3: 10 GB less memory")
    offload: bool = Field(False, description="keep on the GPU only what is running: less memory, slower")


@dataclass(frozen=True)
class _Row:
    """A request, its prepared prompt, and the file for its image."""

    request: GenerateRequest
    prepared: Any
    file: str

    @property
    def path(self) -> Path:
        return Path(self.request.folder) / self.file


@dataclass(frozen=True)
class _Batch:
    """Requests of one shape. `size` counts the rows that fill it up too; `conditions` gives the pipeline's prompt arguments."""

    rows: list[_Row]
    size: int
    conditions: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class _PlainPrompt:
    prompt: str
    negative: str
    shape: tuple[int, int] = (1, 0)


class _PlainPrompts:
    """Prompts for a pipeline that encodes them itself, without weights."""

    def __init__(self, name: str, takes_negative: bool):
        self._name, self._takes_negative = name, takes_negative
        self._warned: set[str] = set()

    def prepare(self, prompt: str, negative: str) -> _PlainPrompt:
        check_length(prompt)
        check_length(negative)
        if any(weight != 1 for text in (prompt, negative) for _, weight in fragments(text)):
            self._warn_once("does not support prompt weights: they are left out")
        if negative and not self._takes_negative:
            self._warn_once("does not support negative prompts: they are left out")
        return _PlainPrompt(plain(prompt), plain(negative))

    def encode(self, prepared: Sequence[_PlainPrompt]) -> dict[str, Any]:
        negative = {"negative_prompt": [each.negative for each in prepared]} if self._takes_negative else {}
        return {"prompt": [each.prompt for each in prepared], **negative}

    def _warn_once(self, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s %s", self._name, what)


class DiffusersGenerator(SettingsModel):
    """A text-to-image pipeline."""

    Settings = GenerateSettings

    def __init__(self, **settings: Any):
        self.settings = wanted = read_settings(GenerateSettings, settings)
        require_model(wanted.model, "model_index.json")
        try:
            import_module("torch")
            import_module("diffusers")
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        self._device = device_of(wanted.device)
        self._pipe, self._dtype = self._load()
        parameters = signature(self._pipe.__call__).parameters
        if "prompt" not in parameters or "height" not in parameters:
            raise UserError(f"{wanted.model} is a {type(self._pipe).__name__}, which is not a text-to-image pipeline")
        options = {
            "height": wanted.height,
            "width": wanted.width,
            "num_inference_steps": wanted.steps,
            "guidance_scale": wanted.guidance,
        }
        self._options = {name: value for name, value in options.items() if name in parameters}
        self._prompts: Any = (
            WeightedPrompts(self._pipe)
            if takes_weights(self._pipe)
            else _PlainPrompts(type(self._pipe).__name__, "negative_prompt" in parameters)
        )
        shaping = wanted.model_dump(mode="json", include={*wanted.shaping})
        code = code_digest(__name__, "shardmill.models.generate.embeddings", "shardmill.models.generate.prompt_weights")
        self._drawn_by = {**shaping, **self.identity(**settings), "dtype": self._dtype, "code": code}
        self._batch_size = wanted.max_batch_size
        self.fills_gpu = self._device != "cpu"

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
            of_sd3 = config["_class_name"] == "StableDiffusion3Pipeline"
            if wanted.drop_t5 and not of_sd3:
                raise UserError(f"drop_t5 is for Stable Diffusion 3; {wanted.model} is a {config['_class_name']}")
            on_gpu = "bfloat16" if of_sd3 else "float16"
            dtype = wanted.dtype if wanted.dtype != "auto" else "float32" if self._device == "cpu" else on_gpu
            if not isinstance(torch_dtype := getattr(torch, dtype, None), torch.dtype):
                raise UserError(f"setting dtype of the model: there is no dtype {dtype!r}")
            t5 = ("text_encoder_3", "tokenizer_3")
            without_t5 = of_sd3 and (wanted.drop_t5 or not all((config.get(name) or [None])[0] for name in t5))
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                wanted.model,
                revision=wanted.revision,
                variant=wanted.variant,
                dtype=torch_dtype,
                **(dict.fromkeys(t5) if without_t5 else {}),
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
        waiting: list[_Row] = []
        running: _Batch | None = None
        writing: list[Future[Reply]] = []
        encoder = ThreadPoolExecutor(1, "encode-prompts")
        writers = ThreadPoolExecutor(WRITERS, "write-images")
        try:
            while True:
                while len(waiting) < WINDOW * self._batch_size and (request := next(source, None)) is not None:
                    row = self._prepare(request)
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

    def _prepare(self, request: Any) -> _Row | Reply:
        """A request ready to be generated; the reply if its image exists already, or if it never can be."""
        assert isinstance(request, GenerateRequest)
        prompt = _encodable(request.prompt)
        negative = _encodable(", ".join(filter(None, (request.negative, self.settings.negative))))
        try:
            prepared = self._prompts.prepare(prompt, negative)
        except PromptTooLong as error:
            return Reply(request.key, None, "unusable", "prompt too long", str(error))
        name = image_digest({"model": self._drawn_by, "prompt": prompt, "negative": negative, "seed": request.seed})
        row = _Row(request, prepared, image_file(name, self.settings.format))
        size = saved_size(row.path)
        return row if size is None else Reply(request.key, GeneratedImage(row.file, *size))

    def _next_batch(self, waiting: list[_Row]) -> list[_Row]:
        """Take a batch out of `waiting`: the request that waits longest, with those that have its shape."""
        shape = waiting[0].prepared.shape
        batch = [row for row in waiting if row.prepared.shape == shape][: self._batch_size]
        chosen = {id(row) for row in batch}
        waiting[:] = [row for row in waiting if id(row) not in chosen]
        return batch

    def _batch(self, rows: list[_Row], encoder: ThreadPoolExecutor | None = None) -> _Batch:
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
            return [(self._check_and_save, row, image, unsafe, usage) for row, image, unsafe in rows]
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

    def _check_and_save(self, row: _Row, image: Image.Image, unsafe: bool, usage: Usage) -> Reply:
        """Check an image and write its file."""
        problem = "flagged as unsafe" if unsafe else image_problem(image)
        if problem is not None:
            return Reply(row.request.key, None, "error", problem, usage=usage)
        try:
            save_image(image, row.path, self.settings.quality)
        except OSError as error:
            raise UserError(f"cannot write the image {row.path}: {error}") from error
        return Reply(row.request.key, GeneratedImage(row.file, *image.size), usage=usage)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()
