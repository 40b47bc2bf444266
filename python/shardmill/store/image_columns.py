"""Which columns of a run name images, and what opens such an image."""

from __future__ import annotations

import os
from collections.abc import Sequence

import polars as pl

from shardmill.store.layout import generated_image_path
from shardmill.store.run_folder import RunFolder

GENERATED_IMAGE, EDITED_IMAGE = "generated_image", "edited_image"
RUN_IMAGES = (GENERATED_IMAGE, EDITED_IMAGE)
"""The columns whose paths start from the run's folder; those of any other start from the image folder."""
INPUT_IMAGE = "image"
URL = "://"


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
    if column in RUN_IMAGES:
        return generated_image_path(run.path, value)
    return os.path.join(run.plan.input.image_root, value)


def path_columns(run: RunFolder, stage: str) -> list[str]:
    """The image columns of a stage's rows but other columns of the input, which may hold anything: `has_image` is not a path."""
    known = image_columns(run, stage)
    return [name for name in known if name in (GENERATED_IMAGE, INPUT_IMAGE) or name not in run.plan.input.columns]


def absolute_path(run: RunFolder, column: str, value: str | None) -> str | None:
    """The absolute path of an image, for a reader in any folder. A missing value and a URL stay as they are."""
    return value if not value or URL in value else image_reference(run, column, value)


def with_absolute_paths(run: RunFolder, frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """A frame whose image columns hold absolute paths."""
    root = os.path.join(run.plan.input.image_root, "")
    changed = []
    for name in columns:
        value = pl.col(name)
        if name in RUN_IMAGES:
            path = value.map_elements(lambda each: absolute_path(run, GENERATED_IMAGE, each), return_dtype=pl.String)
        else:
            path = pl.concat_str(pl.lit(root), value)
        stays = (value == "") | value.str.starts_with("/") | value.str.contains(URL, literal=True)
        changed.append(pl.when(stays).then(value).otherwise(path).alias(name))
    return frame.with_columns(changed)


def image_root(run: RunFolder) -> str:
    """The folder that the images of a run's datasets lie below: that of the input, or the run where only it made images."""
    given = INPUT_IMAGE in run.plan.input.mapping.values()
    made = any(GENERATED_IMAGE in run.kinds(stage) for stage in run.stages)
    return os.path.abspath(run.path) if made and not given else run.plan.input.image_root
