"""Generate an image for each weighted prompt.

python -m shardmill.antidote.generate_images --run RUN --shard-index 3
"""

from __future__ import annotations

from pydantic import Field

from shardmill.core.stage_main import main
from shardmill.stages.generate_images import GenerateImages, GenerateOptions


class WeightedPromptOptions(GenerateOptions):
    """Options of `generate_images` with the columns of this pipeline."""

    negative: str = Field("prompt_neg", description="the column with what it must not show; empty: nothing in particular")


class GenerateWeightedImages(GenerateImages):
    """An image of what a weighted prompt names, and by the negative prompt of nothing else.

    prompt, prompt_neg (text) -> generated_image (text), generated_width, generated_height (int); see `GenerateImages`.
    """

    Options = WeightedPromptOptions


if __name__ == "__main__":
    main(GenerateWeightedImages)
