"""COCO captions: the official annotations, {"images", "annotations"}, and {id: {"image_file", "captions"}}.

Each caption of an image makes a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import JsonEntry, json_entries
from shardmill.util.errors import UserError

LISTS = ("images", "annotations")


class Image(CaptionRecord):
    """An image of the official file."""

    id: int | str
    file_name: str


class Annotation(CaptionRecord):
    """A caption of the official file."""

    id: int | str
    image_id: int | str
    caption: str


class ImageCaptions(CaptionRecord):
    """An image of the file by ids."""

    image_file: str
    captions: list[str]


def read_coco(path: Path) -> Iterator[Found]:
    """A row per caption. Of the official file the names of the images are kept in memory, nothing else."""
    names: dict[int | str, str] = {}
    official = False
    for entry in json_entries(path, LISTS):
        if entry.key in LISTS and entry.position is not None:
            official = True
            if entry.key == "images":
                yield from _learn(entry, names)
        elif official or entry.key in ("info", "licenses", "type", *LISTS):
            continue
        else:
            yield from _of_image(entry)
    if not official:
        return
    if not names:
        raise UserError(f'{path} has no "images", so nothing says which file a caption belongs to.')
    for entry in json_entries(path, LISTS):
        if entry.key == "annotations" and entry.position is not None:
            yield _of_annotation(entry, names)


def _learn(entry: JsonEntry, names: dict[int | str, str]) -> Iterator[UnusableEntry]:
    try:
        image = Image.model_validate(entry.value)
        names[image.id] = image.file_name
    except ValidationError as error:
        yield misfit(entry, error)


def _of_annotation(entry: JsonEntry, names: dict[int | str, str]) -> Found:
    try:
        annotation = Annotation.model_validate(entry.value)
    except ValidationError as error:
        return misfit(entry, error)
    image, caption = names.get(annotation.image_id), one_line(annotation.caption)
    if image is None:
        return UnusableEntry(where(entry), "no such image", f"image_id {annotation.image_id}", entry.value)
    if not caption:
        return UnusableEntry(where(entry), NO_CAPTION, "", entry.value)
    return Captioned(image, caption, str(annotation.id))


def _of_image(entry: JsonEntry) -> Iterator[Found]:
    try:
        image = ImageCaptions.model_validate(entry.value)
    except ValidationError as error:
        yield misfit(entry, error)
        return
    if not image.captions:
        yield UnusableEntry(where(entry), NO_CAPTION, "", entry.value)
    for position, caption in enumerate(map(one_line, image.captions)):
        if caption:
            yield Captioned(image.image_file, caption, f"{entry.key}#{position}")
        else:
            yield UnusableEntry(f"{where(entry)}, caption {position + 1}", NO_CAPTION, "", entry.value)
