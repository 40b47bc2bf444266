"""Which columns of a run name images, and what opens such an image."""

from __future__ import annotations

from pathlib import Path

from shardmill.store.layout import generated_image_path
from shardmill.store.run_folder import RunFolder

GENERATED_IMAGE = "generated_image"
"""The column whose paths start from the run's folder; those of any other start from the image folder."""
INPUT_IMAGE = "image"


def image_columns(run: RunFolder, stage: str) -> list[str]:
    """The image columns of a stage's rows, generated images first, then those of the input, then `*_image` of other stages."""
    texts = [name for name, kind in run.kinds(stage).items() if kind == "text"]
    given = INPUT_IMAGE in run.plan.input.mapping.values()
    known = [name for name in (GENERATED_IMAGE, *([INPUT_IMAGE] if given else [])) if name in texts]
    return known + [name for name in texts if name.endswith("_image") and name not in known]


def image_column(run: RunFolder, stage: str) -> str | None:
    """The image column of a stage's rows that people want to see, if there is any."""
    return next(iter(image_columns(run, stage)), None)


def image_reference(run: RunFolder, column: str, value: str) -> str:
    """What `models.images` opens for a value of an image column."""
    if column == GENERATED_IMAGE:
        return generated_image_path(run.path, value)
    return str(Path(run.plan.input.image_root) / value)
