"""Parquet: typed columns, real lists of text, and the pictures inside if they are to be copied.

A picture is a struct {bytes, path}, as Hugging Face datasets keep images; json columns are text. Streamed: what is in memory is
one shard's table, and of pictures a few dozen megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from shardmill.export.folder import MAKING, ExportFolder
from shardmill.export.options import ExportOptions
from shardmill.export.pictures import ExportImage, ExportImages, ahead, copied_name
from shardmill.export.placed import NO_PICTURE, loaded
from shardmill.export.rows import OfferRows, keys_of
from shardmill.store.atomic import new_attempt, sync_file, sync_folder
from shardmill.store.cells import DTYPES, Kind
from shardmill.store.frames import LIST, real_lists

HEEDED = ("images", "max_size")
IMAGE = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
BATCH_BYTES, BATCH_ROWS, GROUP_ROWS = 32 << 20, 256, 16_384
"""What rows with pictures are handed on in, at most, and the rows of a row group with pictures and without."""


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT-00000.parquet` and so on, each of at most about `max_size` bytes before compression."""
    write_files(source, folder, options, "")


def write_files(source: OfferRows, folder: ExportFolder, options: ExportOptions, below: str) -> int:
    """The files of an offer, in a folder `below` the export's; returns the number of rows."""
    schema = schema_of(source, options)
    frames = embedded(source, folder, options.max_size) if embeds(source, options) else sliced(source, folder, options.max_size)
    number = total = 0
    while (head := next(frames, None)) is not None or not number:
        name = f"{below}{source.offer.name}-{number:05d}.parquet"
        rows = _write_file(chain([head] if head is not None else [], frames), schema, folder, name, options)
        folder.files[name] = {"rows": rows}
        number, total = number + 1, total + rows
    return total


def embeds(source: OfferRows, options: ExportOptions) -> bool:
    """Whether pictures go into the table."""
    return options.images == "copy" and source.offer.picture is not None


def schema_of(source: OfferRows, options: ExportOptions) -> dict[str, pl.DataType]:
    """The columns of the files."""
    schema = {name: dtype_of(kind) for name, kind in source.kinds.items()}
    if embeds(source, options):
        schema[str(source.offer.picture)] = IMAGE
    return schema


def dtype_of(kind: Kind) -> pl.DataType:
    return LIST if kind == "list" else DTYPES[kind]


def typed(source: OfferRows, folder: ExportFolder) -> Iterator[pl.DataFrame]:
    """The tables with real lists; pictures stay as the run names them."""
    for _, table in source.tables(folder.left_out):
        yield table.select(list(source.kinds)).with_columns(real_lists(source.kinds))


def sliced(source: OfferRows, folder: ExportFolder, most: int) -> Iterator[pl.DataFrame]:
    """The tables in pieces of at most about so many bytes."""
    for table in typed(source, folder):
        pieces = 1 + int(table.estimated_size() // most)
        yield from table.iter_slices(max(1, table.height // pieces))


def embedded(source: OfferRows, folder: ExportFolder, most: int) -> Iterator[pl.DataFrame]:
    """The tables with pictures, in pieces of at most about so many bytes. Rows without one are left out and written down."""
    column = str(source.offer.picture)
    pictures = ExportImages(source.run, column)
    for table in typed(source, folder):
        keys, at = keys_of(table), 0
        cells: list[dict[str, Any] | None] = []
        waiting = 0
        for _, picture in ahead(lambda value: loaded(pictures, value), table[column].to_list()):
            row_id, sub_id = keys[at + len(cells)]
            if isinstance(picture, ExportImage):
                cells.append({"bytes": picture.data, "path": copied_name(row_id, picture.suffix).rpartition("/")[2]})
                waiting += len(picture.data)
            else:
                folder.left_out.add(NO_PICTURE, row_id, str(picture), sub_id)
                cells.append(None)
            if waiting >= min(BATCH_BYTES, most) or len(cells) >= BATCH_ROWS:
                yield with_pictures(table.slice(at, len(cells)), column, cells)
                at, cells, waiting = at + len(cells), [], 0
        yield with_pictures(table.slice(at), column, cells)


def with_pictures(table: pl.DataFrame, column: str, cells: list[dict[str, Any] | None]) -> pl.DataFrame:
    """The rows that have a picture, with it."""
    return table.with_columns(pl.Series(column, cells, dtype=IMAGE)).filter(pl.col(column).is_not_null())


def _write_file(
    frames: Iterator[pl.DataFrame], schema: dict[str, pl.DataType], folder: ExportFolder, name: str, options: ExportOptions
) -> int:
    """Stream frames into one file until it is full; returns how many rows it has."""
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
    with_image = any(dtype == IMAGE for dtype in schema.values())
    register_io_source(until_full, schema=schema).sink_parquet(temporary, row_group_size=BATCH_ROWS if with_image else GROUP_ROWS)
    sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)
    return rows
