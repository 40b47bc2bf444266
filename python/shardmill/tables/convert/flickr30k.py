"""Flickr30k, Flickr8k and COCO as Karpathy split them: {"images": [{"filename", "sentences": [{"raw"}]}]}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import json_entries

LIST = "images"


class Sentence(CaptionRecord):
    """A caption."""

    raw: str


class KarpathyImage(CaptionRecord):
    """A picture with its captions. `filepath` is the folder of COCO's pictures."""

    filename: str
    sentences: list[Sentence]
    filepath: str = ""
    imgid: int | str = ""


def read_flickr30k(path: Path) -> Iterator[Found]:
    """A row per caption."""
    for entry in json_entries(path, (LIST,)):
        if entry.key != LIST or entry.position is None:
            continue
        try:
            image = KarpathyImage.model_validate(entry.value)
        except ValidationError as error:
            yield misfit(entry, error)
            continue
        name = f"{image.filepath}/{image.filename}".lstrip("/")
        captions = [one_line(sentence.raw) for sentence in image.sentences]
        if not any(captions):
            yield UnusableEntry(where(entry), NO_CAPTION, "", entry.value)
        own_id = image.imgid if image.imgid != "" else entry.position
        yield from (Captioned(name, caption, f"{own_id}#{number}") for number, caption in enumerate(captions) if caption)
