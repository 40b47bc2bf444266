"""Generate an image for each prompt.

python -m shardmill.antidote.generate_images --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.core.model_stages import GenerateStage
from shardmill.core.stage import Answer, ModelCall, Row
from shardmill.core.stage_main import main
from shardmill.models.contract import GeneratedImage


class GenerateImages(GenerateStage):
    """An image of what a prompt names and, by the negative prompt, of nothing else; words of both may bear weights.

    prompt, prompt_neg (text) -> generated_image (text, path from the run's folder), generated_width, generated_height (int).
    An image is named after all that shapes it, its seed among them, so it is never taken for another row's.
    """

    name = "generate_images"
    reads = ("prompt", "prompt_neg")
    adds = {"generated_image": "text", "generated_width": "int", "generated_height": "int"}

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [self.generate_call(row["prompt"] or "", row["prompt_neg"] or "")]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        image: GeneratedImage = answers[0].value
        return {"generated_image": self.path_of(image), "generated_width": image.width, "generated_height": image.height}


if __name__ == "__main__":
    main(GenerateImages)
