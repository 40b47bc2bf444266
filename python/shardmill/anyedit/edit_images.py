"""Edit each image as its instruction says.

python -m shardmill.anyedit.edit_images --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.anyedit.edit_types import edit_type
from shardmill.core.model_stages import EditStage
from shardmill.core.stage import Answer, Context, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.models.contract import GeneratedImage
from shardmill.store.image_columns import GENERATED_IMAGE

NO_IMAGE, SECOND_IMAGE = "no image", "edit needs a second image"


class EditImagesOptions(Options):
    """Options of `edit_images`."""

    images: str = Field(GENERATED_IMAGE, description="the column with the images: generated_image, or image (the input's)")


class EditImages(EditStage):
    """The image after an edit, by an editor that reads the instruction.

    generated_image or image, edit_type, edit_input, edit, output (text) -> edited_image (text, path from the run's folder),
    edited_width, edited_height (int). Edits that are shown by a second image (`visual_*`) are rejected, and so is what the editor
    cannot do.
    """

    name = "edit_images"
    adds = {"edited_image": "text", "edited_width": "int", "edited_height": "int"}
    Options = EditImagesOptions
    options: EditImagesOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        self.reads = (self.options.images, "edit_type", "edit_input", "edit", "output")

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        image = row[self.options.images]
        if not image or edit_type(row["edit_type"]).family == "visual":
            return []
        path = self.context.image_path(self.options.images, image)
        texts = {"before": row["edit_input"] or "", "after": row["output"] or ""}
        return [self.edit_call(path, row["edit"], kind=row["edit_type"], **texts)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return Reject(SECOND_IMAGE, row["edit_type"]) if row[self.options.images] else Reject(NO_IMAGE)
        image: GeneratedImage = answers[0].value
        return {"edited_image": self.path_of(image), "edited_width": image.width, "edited_height": image.height}


if __name__ == "__main__":
    main(EditImages)
