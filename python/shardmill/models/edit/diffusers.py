"""Edited images by any instruction-following pipeline of diffusers: InstructPix2Pix, FLUX.1 Kontext, Qwen-Image-Edit, …"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from PIL import Image, ImageChops, ImageStat
from pydantic import Field

from shardmill.models.contract import EditRequest, GeneratedImage, Reply, Usage
from shardmill.models.generate.pipeline_model import DiffusersModel, PipelineSettings, PreparedRequest, encodable
from shardmill.models.generate.store import image_digest, image_file, saved_size
from shardmill.models.images import UnreadableImage, open_image
from shardmill.models.settings import ModelSettings
from shardmill.util.errors import UserError

MULTIPLE = 16
"""What width and height of an image must be multiples of, for the pipelines' autoencoders."""
MIN_CHANGE = 0.5
"""Of 255: the mean difference from its source that an edited image has at least."""


class EditSettings(PipelineSettings):
    """Settings of an image editor. A guidance that is not given is the pipeline's own."""

    shaping = (
        *ModelSettings.shaping,
        *("variant", "dtype", "max_side", "steps", "guidance", "image_guidance", "true_cfg", "negative", "format", "quality"),
    )

    max_side: int = Field(1024, ge=64, le=4096, description="longer side of the images in pixels; larger ones are made smaller")
    guidance: float | None = Field(None, ge=0, le=100, description="guidance scale")
    image_guidance: float | None = Field(None, ge=0, le=100, description="InstructPix2Pix: how closely the image is followed")
    true_cfg: float | None = Field(None, ge=0, le=100, description="Qwen-Image-Edit, Kontext: true classifier-free guidance")
    max_batch_size: int = Field(1, ge=1, description="images of one size at a time; not every pipeline takes several")


@dataclass(frozen=True)
class _Edit:
    """What a pipeline gets of a request. Edits of one `shape` can be made in one batch."""

    instruction: str
    source: Image.Image

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.size


class DiffusersEditor(DiffusersModel):
    """A pipeline that edits an image as a prompt says."""

    Settings = EditSettings
    settings: EditSettings
    code = (__name__, "shardmill.models.generate.pipeline_model")

    def call_options(self, parameters: Collection[str]) -> dict[str, Any]:
        wanted = self.settings
        if not {"prompt", "image"} <= set(parameters) or "mask_image" in parameters or "strength" in parameters:
            raise UserError(f"{wanted.model} is a {type(self._pipe).__name__}, which does not edit an image as a prompt says")
        scales = {
            "guidance_scale": wanted.guidance,
            "image_guidance_scale": wanted.image_guidance,
            "true_cfg_scale": wanted.true_cfg,
        }
        given = {name: value for name, value in scales.items() if value is not None}
        for name in given:
            if name not in parameters:
                raise UserError(f"{wanted.model} is a {type(self._pipe).__name__}, which has no {name}; leave the setting out")
        return {"num_inference_steps": wanted.steps, **given}

    def prompt_encoder(self, parameters: Collection[str]) -> Any:
        negative = self.settings.negative or (" " if self.settings.true_cfg is not None else "")
        return _Arguments(negative if "negative_prompt" in parameters else "", "height" in parameters)

    def prepare(self, request: Any) -> PreparedRequest | Reply:
        assert isinstance(request, EditRequest)
        try:
            source = _resized(open_image(request.image), self.settings.max_side)
        except UnreadableImage as error:
            return Reply(request.key, None, "unusable", "unreadable image", str(error))
        instruction = encodable(request.instruction)
        image = sha256(source.tobytes()).hexdigest()
        name = image_digest({"model": self._drawn_by, "instruction": instruction, "image": image, "seed": request.seed})
        prepared = PreparedRequest(request, _Edit(instruction, source), image_file(name, self.settings.format))
        size = saved_size(prepared.path)
        return prepared if size is None else Reply(request.key, GeneratedImage(prepared.file, *size))

    def save_checked(self, row: PreparedRequest, image: Image.Image, unsafe: bool, usage: Usage) -> Reply:
        """As for any image, in the size of its source; an image that is its source again is an error."""
        source = row.prepared.source
        image = image.convert("RGB")
        if image.size != source.size:
            image = image.resize(source.size, Image.Resampling.LANCZOS)
        if max(ImageStat.Stat(ImageChops.difference(image, source)).mean) < MIN_CHANGE:
            return Reply(row.request.key, None, "error", "image unchanged", usage=usage)
        return super().save_checked(row, image, unsafe, usage)


@dataclass(frozen=True)
class _Arguments:
    """What a pipeline is called with for a batch. One image is given as it is: not every pipeline takes lists."""

    negative: str
    takes_size: bool

    def encode(self, prepared: Sequence[_Edit]) -> dict[str, Any]:
        several = len(prepared) > 1
        arguments: dict[str, Any] = {
            "prompt": [each.instruction for each in prepared] if several else prepared[0].instruction,
            "image": [each.source for each in prepared] if several else prepared[0].source,
        }
        if self.negative:
            arguments["negative_prompt"] = [self.negative] * len(prepared) if several else self.negative
        if self.takes_size:
            arguments["width"], arguments["height"] = prepared[0].shape
        return arguments


def _resized(image: Image.Image, max_side: int) -> Image.Image:
    """The image with sides of at most `max_side` pixels, which are multiples of MULTIPLE."""
    scale = min(1.0, max_side / max(image.size))
    width, height = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in image.size)
    image = image.convert("RGB")
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
