"""Paint a picture for each prompt.

python -m shardmill.antidote.paint_images --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.core.stage import Answer, Ask, PaintStage, Row
from shardmill.core.standalone import main
from shardmill.models.contract import Painted


class PaintImages(PaintStage):
    """A picture of what a prompt names and, by the negative prompt, of nothing else; words of both may bear weights.

    prompt, prompt_neg (text) -> painted_image (text, path from the run's folder), painted_width, painted_height (int). A picture
    is named after all that shapes it, its seed among them, so it is never taken for another row's.
    """

    name = "antidote.paint_images"
    reads = ("prompt", "prompt_neg")
    adds = {"painted_image": "text", "painted_width": "int", "painted_height": "int"}

    def ask(self, row: Row, rng: Random) -> list[Ask]:
        return [self.paint(row["prompt"] or "", row["prompt_neg"] or "")]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        painted: Painted = answers[0].value
        return {"painted_image": self.path_of(painted), "painted_width": painted.width, "painted_height": painted.height}


if __name__ == "__main__":
    main(PaintImages)
