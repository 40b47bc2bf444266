"""Adds to each row the path of its image for the trainer: where the image is, or its copy in the export."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.export.folder import ExportFolder, LeftOutRows
from shardmill.export.images import ExportImage, ExportImages, copy_image, map_ahead
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, row_keys
from shardmill.models.images import UnreadableImage

IMAGE_PATH = "exported\nimage"
"""The column with the image's path. No run has a column of this name: ingest refuses names with a line break."""
NO_IMAGE, NO_TEXT = "no readable image", "no text"


def with_image_paths(source: TableRows, folder: ExportFolder, options: ExportOptions) -> Iterator[pl.DataFrame]:
    """The rows of each shard with IMAGE_PATH. Rows whose image is missing or unreadable are left out and recorded.

    Images that are only referenced are not opened: the stages of the run opened them.
    """
    assert source.table.image_column is not None
    images = ExportImages(source.run, source.table.image_column)
    for _, frame in source.frames(folder.left_out):
        paths = copy_images(frame, images, folder) if options.images == "copy" else find_images(frame, images, folder.left_out)
        yield frame.with_columns(pl.Series(IMAGE_PATH, paths, dtype=pl.String)).filter(pl.col(IMAGE_PATH).is_not_null())


def find_images(frame: pl.DataFrame, images: ExportImages, left_out: LeftOutRows) -> list[str | None]:
    """The absolute path of each row's image, None if the row names none."""
    found: list[str | None] = []
    for key, value in zip(row_keys(frame), frame[images.column], strict=True):
        try:
            found.append(images.path(value))
        except UnreadableImage as error:
            left_out.add(NO_IMAGE, key[0], str(error), key[1])
            found.append(None)
    return found


def copy_images(frame: pl.DataFrame, images: ExportImages, folder: ExportFolder) -> list[str | None]:
    """Copy the image of each row_id once; the path of each row's copy from the folder, None if it has no readable image."""
    wanted = dict(frame.select("row_id", images.column).iter_rows())

    def copy(item: tuple[int, str | None]) -> str | UnreadableImage:
        image = load_image(images, item[1])
        return copy_image(image, item[0], folder.path) if isinstance(image, ExportImage) else image

    copied = {row_id: found for (row_id, _), found in map_ahead(copy, wanted.items())}
    paths: list[str | None] = []
    for row_id, sub_id in row_keys(frame):
        found = copied[row_id]
        if isinstance(found, UnreadableImage):
            folder.left_out.add(NO_IMAGE, row_id, str(found), sub_id)
        paths.append(found if isinstance(found, str) else None)
    return paths


def load_image(images: ExportImages, value: str | None) -> ExportImage | UnreadableImage:
    """An image, or why it cannot be read."""
    try:
        return images.load(value)
    except UnreadableImage as error:
        return error
