"""Paint a picture for each caption of a scene.

python -m shardmill.anyedit.paint_images --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.core.stage import Answer, Ask, PaintStage, Row
from shardmill.core.standalone import main
from shardmill.models.contract import Painted


class PaintImages(PaintStage):
    """A picture of what a caption says.

    scene_caption (text) -> painted_image (text, path from the run's folder), painted_width, painted_height (int). A picture is
    named after all that shapes it, its seed among them.
    """

    name = "anyedit.paint_images"
    reads = ("scene_caption",)
    adds = {"painted_image": "text", "painted_width": "int", "painted_height": "int"}

    def ask(self, row: Row, rng: Random) -> list[Ask]:
        return [self.paint(row["scene_caption"] or "", "")]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        painted: Painted = answers[0].value
        return {"painted_image": self.path_of(painted), "painted_width": painted.width, "painted_height": painted.height}


if __name__ == "__main__":
    main(PaintImages)
