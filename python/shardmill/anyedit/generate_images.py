"""Generate an image for each scene caption.

python -m shardmill.anyedit.generate_images --run RUN --shard-index 3
"""

from __future__ import annotations

from pydantic import Field

from shardmill.core.stage_main import main
from shardmill.stages.generate_images import GenerateImages, GenerateOptions


class SceneCaptionOptions(GenerateOptions):
    """Options of `generate_images` with the columns of this pipeline."""

    prompt: str = Field("scene_caption", description="the column with what the image shows")


class GenerateSceneImages(GenerateImages):
    """An image of what a scene caption says.

    scene_caption (text) -> generated_image (text), generated_width, generated_height (int); see `GenerateImages`.
    """

    Options = SceneCaptionOptions


if __name__ == "__main__":
    main(GenerateSceneImages)
