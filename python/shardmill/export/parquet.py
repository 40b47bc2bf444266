"""Parquet: typed columns, real lists of text, and the images inside if they are to be copied.

An image is a struct {bytes, path}, as Hugging Face `datasets` stores it; json columns are text. Streamed: memory holds the rows
of one shard and a few dozen megabytes of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from shardmill.export.folder import MAKING, ExportFolder
from shardmill.export.image_paths import NO_IMAGE, load_image
from shardmill.export.images import ExportImage, ExportImages, copied_path, map_ahead
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, row_keys
from shardmill.store.cells import Kind
from shardmill.store.frames import DTYPES, LIST, real_lists
from shardmill.util.atomic import new_attempt, sync_file, sync_folder

IMAGE = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
MAX_BATCH_BYTES, MAX_BATCH_ROWS = 32 << 20, 256
"""The size of a batch of rows with images, which is also a row group."""
ROW_GROUP = 16_384


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT-00000.parquet` and so on, each of at most about `max_size` bytes before compression."""
    write_files(source, folder, options, "")


def write_files(source: TableRows, folder: ExportFolder, options: ExportOptions, below: str) -> int:
    """Write the files of a table, their names after the prefix `below`; returns the number of rows."""
    make = embed_images if embeds(source, options) else slice_frames
    frames = make(source, folder, options.max_size)
    return write_frames(frames, schema_of(source, options), folder, f"{below}{source.table.name}", options)


def write_frames(
    frames: Iterator[pl.DataFrame],
    schema: dict[str, pl.DataType],
    folder: ExportFolder,
    stem: str,
    options: ExportOptions,
) -> int:
    """Write frames of one schema into the files `STEM-00000.parquet` and so on; returns the number of rows."""
    number = total = 0
    while (head := next(frames, None)) is not None or not number:
        name = f"{stem}-{number:05d}.parquet"
        rows = _write_file(chain([head] if head is not None else [], frames), schema, folder, name, options)
        folder.files[name] = {"rows": rows}
        number, total = number + 1, total + rows
    return total


def embeds(source: TableRows, options: ExportOptions) -> bool:
    """Whether images go into the table."""
    return options.images == "copy" and source.table.image_column is not None


def schema_of(source: TableRows, options: ExportOptions) -> dict[str, pl.DataType]:
    """The columns of the files."""
    schema = {name: dtype_of(kind) for name, kind in source.kinds.items()}
    if embeds(source, options):
        schema[str(source.table.image_column)] = IMAGE
    return schema


def dtype_of(kind: Kind) -> pl.DataType:
    """The type of a column in the file."""
    return LIST if kind == "list" else DTYPES[kind]


def typed_frames(source: TableRows, folder: ExportFolder, embedded: str | None = None) -> Iterator[pl.DataFrame]:
    """The rows of each shard with real lists, and absolute paths of images but those of the column `embedded`."""
    for _, frame in source.frames(folder.left_out):
        yield source.absolute(frame.select(list(source.kinds)), embedded).with_columns(real_lists(source.kinds))


def slice_frames(source: TableRows, folder: ExportFolder, max_size: int) -> Iterator[pl.DataFrame]:
    """The rows in pieces of about `max_size` bytes at most."""
    for frame in typed_frames(source, folder):
        pieces = 1 + int(frame.estimated_size() // max_size)
        yield from frame.iter_slices(max(1, frame.height // pieces))


def embed_images(source: TableRows, folder: ExportFolder, max_size: int) -> Iterator[pl.DataFrame]:
    """The rows with their images, in batches of about `max_size` bytes at most. Rows without one are left out and recorded."""
    column = str(source.table.image_column)
    images = ExportImages(source.run, column)
    for frame in typed_frames(source, folder, column):
        keys, at = row_keys(frame), 0
        cells: list[dict[str, Any] | None] = []
        waiting = 0
        for _, image in map_ahead(lambda value: load_image(images, value), frame[column].to_list()):
            row_id, sub_id = keys[at + len(cells)]
            if isinstance(image, ExportImage):
                cells.append({"bytes": image.data, "path": copied_path(row_id, image.suffix).rpartition("/")[2]})
                waiting += len(image.data)
            else:
                folder.left_out.add(NO_IMAGE, row_id, str(image), sub_id)
                cells.append(None)
            if waiting >= min(MAX_BATCH_BYTES, max_size) or len(cells) >= MAX_BATCH_ROWS:
                yield with_images(frame.slice(at, len(cells)), column, cells)
                at, cells, waiting = at + len(cells), [], 0
        yield with_images(frame.slice(at), column, cells)


def with_images(frame: pl.DataFrame, column: str, cells: list[dict[str, Any] | None]) -> pl.DataFrame:
    """The rows that have an image, with it."""
    return frame.with_columns(pl.Series(column, cells, dtype=IMAGE)).filter(pl.col(column).is_not_null())


def _write_file(
    frames: Iterator[pl.DataFrame],
    schema: dict[str, pl.DataType],
    folder: ExportFolder,
    name: str,
    options: ExportOptions,
) -> int:
    """Stream frames into one file until it is full; returns its number of rows."""
    rows = 0

    def until_full(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        size = 0.0
        for frame in frames:
            rows += frame.height
            size += frame.estimated_size()
            yield frame.select(list(schema))
            if size >= options.max_size:
                return

    path, temporary = folder.path / name, folder.path / MAKING / f"{new_attempt()}.parquet"
    for parent in (path.parent, temporary.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with_image = any(dtype in (IMAGE, pl.List(IMAGE)) for dtype in schema.values())
    register_io_source(until_full, schema=schema).sink_parquet(
        temporary, row_group_size=MAX_BATCH_ROWS if with_image else ROW_GROUP
    )
    sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)
    return rows
