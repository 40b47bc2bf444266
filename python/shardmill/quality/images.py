"""Rules on generated images: each row has one of its own, and it can be opened."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.models.images import UnreadableImage, size_of
from shardmill.quality.rules import NEVER, QualityRule, Row, at_most, at_stage
from shardmill.store.layout import generated_image_path
from shardmill.store.run_folder import RunFolder

COLUMN = "generated_image"
OPENED_IMAGES = 200


def image_rules(run: RunFolder, stage: str) -> list[QualityRule]:
    """The rules on the images that a stage generated."""

    def unreadable(row: Row) -> Iterator[str | None]:
        try:
            size_of(generated_image_path(run.path, row[COLUMN] or ""))
        except UnreadableImage as error:
            yield str(error)
        else:
            yield None

    return at_stage(
        stage,
        QualityRule(
            "pictures.readable",
            "Generated images exist and can be opened.",
            NEVER,
            (COLUMN,),
            unreadable,
            max_rows=OPENED_IMAGES,
            fault="Some generated images are missing or cannot be opened.",
            advice="Images were deleted or damaged after they were generated. Run the stage that generates them again.",
        ),
        QualityRule(
            "pictures.copies",
            "Every row has an image file of its own.",
            at_most(0.0, 0.01),
            (COLUMN,),
            pl.col(COLUMN),
            counts="copies",
            fault="Some rows share an image file.",
            advice="Rows share an image, so their texts may be about another one.",
        ),
    )
