"""How an image is prepared for a captioner: settings that all of them share."""

from __future__ import annotations

from typing import Any

from PIL import Image
from pydantic import BaseModel, Field

from shardmill.models.images import fit_pixels, open_image, pad_to_square
from shardmill.util.errors import UserError

TILES: dict[str, dict[str, Any]] = {
    "internvl_chat": {"max_dynamic_patch": "{}"},
    "internvl": {"crop_to_patches": True, "max_patches": "{}"},
}
"""What InternVL's two formats (the authors' own, transformers') call the number of tiles; `{}` is that number."""
DEFAULT_TILES = 6
MAX_TILES = 40
SHAPING = ("max_pixels", "square", "max_tiles", "image_text", "processor")


class ImageSettings(BaseModel):
    """How images and prompts are given to a captioner."""

    max_pixels: int | None = Field(default=None, ge=784, description="maximum pixels; larger images are scaled down (Qwen2-VL)")
    square: bool = Field(False, description="pad images to a square (LLaVA-1.5 was trained so)")
    max_tiles: int | None = Field(
        default=None, ge=1, le=MAX_TILES, description="tiles that an image is cut into (InternVL; 6 there)"
    )
    image_text: str | None = Field(
        default=None, pattern=r"\{prompt\}", description="image and prompt in a turn, if the chat template lacks it"
    )
    processor: dict[str, Any] = Field({}, description="other arguments of the model's image processor")

    def load_image(self, reference: str) -> Image.Image:
        """The image of a reference, scaled and padded as the settings say. Raises UnreadableImage."""
        image = open_image(reference)
        if self.max_pixels:
            image = fit_pixels(image, self.max_pixels)
        return pad_to_square(image) if self.square else image

    def processor_arguments(self, model_type: str, budget: int | None = None) -> dict[str, Any]:
        """The arguments of the image processor of a model; with a `budget`, for so many tiles at most where there are tiles.

        Raises UserError for `max_tiles` where there are none.
        """
        names = TILES.get(model_type, {})
        if self.max_tiles and not names:
            raise UserError(f"a model of type {model_type!r} does not cut images into tiles; leave out max_tiles")
        tiles = min(self.max_tiles or DEFAULT_TILES, budget or MAX_TILES)
        return {**{name: tiles if value == "{}" else value for name, value in names.items()}, **self.processor}

    def chat(self, prompt: str) -> list[dict[str, Any]]:
        """The user turn with an image and `prompt`; the image first, so that all prompts about it share a prefix."""
        if self.image_text is not None:
            return [{"role": "user", "content": self.image_text.replace("{prompt}", prompt)}]
        return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]


def chat_text(settings: ImageSettings, templates: list[Any], prompt: str) -> str:
    """The chat as text by the first of `templates` (a processor, a tokenizer) that has a chat template. Raises UserError."""
    template = next((each for each in templates if getattr(each, "chat_template", None)), None)
    if template is None:
        raise UserError("the model has no chat template for images; give its turn as image_text, e.g. 'USER: <image>\\n{prompt}'")
    try:
        return str(template.apply_chat_template(settings.chat(prompt), tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a chat template is the model's own program and may raise anything
        raise UserError(f"the model's chat template fails: {error}; give its turn as image_text") from error
