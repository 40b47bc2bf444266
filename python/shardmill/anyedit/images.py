"""Where the image of a row lies."""

from __future__ import annotations

from shardmill.core.stage import Context
from shardmill.store.layout import generated_image_path

GENERATED = "generated_image"
"""The column whose paths start from the run's folder; those of any other start from the image folder."""


def image_path(context: Context, column: str, value: str) -> str:
    """The path of an image, by the column that names it."""
    if column == GENERATED:
        return generated_image_path(context.run_folder, value)
    return str(context.image_root / value)
