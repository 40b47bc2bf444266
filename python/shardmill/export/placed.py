"""Tables in which each row says where its picture lies for the trainer: where it lay, or in the export."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.export.folder import ExportFolder, LeftOut
from shardmill.export.options import ExportOptions
from shardmill.export.pictures import ExportImage, ExportImages, ahead, copy
from shardmill.export.rows import OfferRows, keys_of
from shardmill.models.images import UnreadableImage

PLACE = "exported\nimage"
"""The column with the picture's path. No run can have one of this name: ingest refuses those with a line break."""
NO_PICTURE, NO_TEXT = "no readable picture", "no text"


def placed(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> Iterator[pl.DataFrame]:
    """The tables of a source with PLACE. Rows whose picture is missing or unreadable are left out and written down.

    Pictures that are only named are not opened: the run has looked at them.
    """
    assert source.offer.picture is not None
    pictures = ExportImages(source.run, source.offer.picture)
    for _, table in source.tables(folder.left_out):
        places = copies(table, pictures, folder) if options.images == "copy" else paths(table, pictures, folder.left_out)
        yield table.with_columns(pl.Series(PLACE, places, dtype=pl.String)).filter(pl.col(PLACE).is_not_null())


def paths(table: pl.DataFrame, pictures: ExportImages, left_out: LeftOut) -> list[str | None]:
    """The absolute path of each row's picture, None where it names none."""
    found: list[str | None] = []
    for key, value in zip(keys_of(table), table[pictures.column], strict=True):
        try:
            found.append(pictures.path(value))
        except UnreadableImage as error:
            left_out.add(NO_PICTURE, key[0], str(error), key[1])
            found.append(None)
    return found


def copies(table: pl.DataFrame, pictures: ExportImages, folder: ExportFolder) -> list[str | None]:
    """The path of each row's copied picture, from the folder; None where there is no picture to copy. Each is copied once."""
    wanted = dict(table.select("row_id", pictures.column).iter_rows())

    def make(item: tuple[int, str | None]) -> str | UnreadableImage:
        picture = loaded(pictures, item[1])
        return copy(picture, item[0], folder.path) if isinstance(picture, ExportImage) else picture

    made = {row_id: found for (row_id, _), found in ahead(make, wanted.items())}
    places: list[str | None] = []
    for row_id, sub_id in keys_of(table):
        found = made[row_id]
        if isinstance(found, UnreadableImage):
            folder.left_out.add(NO_PICTURE, row_id, str(found), sub_id)
        places.append(found if isinstance(found, str) else None)
    return places


def loaded(pictures: ExportImages, value: str | None) -> ExportImage | UnreadableImage:
    """A picture, or why there is none."""
    try:
        return pictures.load(value)
    except UnreadableImage as error:
        return error
