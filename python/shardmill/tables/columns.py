"""Which columns of an input hold the captions and the images, and what all of them are called in a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import polars as pl

from shardmill.store.cells import Kind
from shardmill.store.image_columns import GENERATED_IMAGE
from shardmill.util.errors import UserError, did_you_mean, name_list
from shardmill.util.image_formats import CAPTION_NUMBER, is_image_name

CAPTION_NAMES = (
    "caption",
    "title",
    "text",
    "captions",
    "alt_text",
    "description",
    "comment",
    "sentence",
    "sentences",
    "raw",
    "alttext",
    "alt",
)
IMAGE_NAMES = (
    "image",
    "image_path",
    "filepath",
    "file_path",
    "file_name",
    "filename",
    "path",
    "file",
    "img",
    "jpg",
    "png",
    "image_file",
    "image_name",
    "img_name",
    "photo",
    "picture",
)
SURE_NAMES = ("image", "image_path", "image_file", "img")
"""Columns with these names hold images whatever they look like: ids, or places in a Parquet file."""
RESERVED = ("row_id", "sub_id", "line")
MOST, FILES_TRIED = 0.8, 20
"""The share of cells that name an image in a column of images, and how many of these are looked for."""


def map_columns(
    columns: Sequence[str],
    caption: str | None,
    image: str | None,
    lists: Sequence[str] = (),
    *,
    captioned: bool = True,
    pictured: bool = True,
    taken: Collection[str] = (),
) -> tuple[dict[str, str], dict[str, Kind]]:
    """Which input column becomes which column of the run, and the columns of the ingest parts with their kinds.

    The caption column becomes `caption`, the image column `image`; the others keep their names, with `input_` before a name
    that the run needs itself or that a stage adds (`taken`). Cells of the columns `lists` are read as lists. No image column is
    looked for where pictures of our own take its place (`pictured`).

    Raises:
        UserError: When a named column is missing, or no caption column can be found though the run needs captions (`captioned`).
    """
    odd = [column for column in columns if any(mark in column for mark in "\r\n")]
    if odd:
        raise UserError(f"the column name {odd[0][:60]!r} has a line break; rename it in the input")
    caption = _find(columns, caption, CAPTION_NAMES, "--caption-column")
    if caption is None and captioned:
        raise UserError(
            f"no column of the input looks like captions (it has: {name_list(columns)}); name it with --caption-column, "
            "or pass --no-header if the first line is a record"
        )
    image = _find(columns, image, IMAGE_NAMES, "--image-column") if pictured else None
    mapping = {caption: "caption"} if caption is not None else {}
    if image is not None:
        if image == caption:
            raise UserError(f"the column {image!r} cannot be both caption and image")
        mapping[image] = "image"
    for column in columns:
        if column not in mapping:
            mapping[column] = f"input_{column}" if column in ("caption", "image", *RESERVED, *taken) else column
    if len(set(mapping.values())) < len(mapping):
        raise UserError(f"two columns of the input would get one name: {name_list(sorted(mapping.values()))}; rename one")
    carried = [name for name in mapping.values() if name not in ("caption", "image")]
    kinds: dict[str, Kind] = {"row_id": "int", **dict.fromkeys(("image", "caption", *carried), "text")}
    for name in lists:
        column = mapping[_find(columns, name, (), "--list-column") or ""]
        if column not in carried:
            raise UserError(f"the column {name!r} is the {column} column and cannot be one of lists")
        kinds[column] = "list"
    return mapping, kinds


def _find(columns: Sequence[str], named: str | None, usual: Sequence[str], option: str) -> str | None:
    if named is not None:
        if named not in columns:
            raise UserError(f"the input has no column {named!r} ({option}); {did_you_mean(named, columns)}")
        return named
    lowered = {column.lower(): column for column in reversed(columns)}
    return next((lowered[name] for name in usual if name in lowered), None)


def column_by_name(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the usual names that a table has, in upper or lower case."""
    return _find(columns, None, usual, "")


def image_column(columns: Sequence[str], sample: pl.DataFrame, root: Path) -> str | None:
    """The column of image paths by its content: one whose cells name image files, of several the one whose files exist.

    A column with a usual name goes before others, unless its cells name no files and those of another do.
    """
    named = column_by_name(columns, IMAGE_NAMES)
    known = [column for column in columns if column != GENERATED_IMAGE]  # its paths start from a run's folder
    holding = [column for column in known if _share(sample[column], is_image_name) > MOST]
    if named is not None and (named.lower() in SURE_NAMES or named in holding or not holding):
        return named
    existing = [column for column in holding if _share(sample[column].head(FILES_TRIED), lambda cell: _exists(root, cell)) > 0]
    return next(iter([*existing, *holding]), None)


def _share(cells: pl.Series, holds: Callable[[str], bool]) -> float:
    known = cells.drop_nulls().to_list()
    return sum(map(holds, known)) / len(known) if known else 0.0


def _exists(root: Path, cell: str) -> bool:
    return os.path.exists(root / CAPTION_NUMBER.sub("", cell).partition("::")[0])
