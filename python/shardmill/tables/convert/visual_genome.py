"""Visual Genome's region descriptions: [{"id", "regions": [{"image_id", "region_id", "phrase"}]}]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import json_entries


class Region(CaptionRecord):
    """A phrase about a part of a picture."""

    phrase: str
    region_id: int | str = ""


class VisualGenomeImage(CaptionRecord):
    """A picture, whose file is named by its id."""

    id: int
    regions: list[Region]


def read_visual_genome(path: Path) -> Iterator[Found]:
    """A row per region."""
    for entry in json_entries(path):
        try:
            image = VisualGenomeImage.model_validate(entry.value)
        except ValidationError as error:
            yield misfit(entry, error)
            continue
        if not image.regions:
            yield UnusableEntry(where(entry), NO_CAPTION, "no regions", entry.value)
        for number, region in enumerate(image.regions):
            if caption := one_line(region.phrase):
                yield Captioned(f"{image.id}.jpg", caption, str(region.region_id) or f"{image.id}#{number}")
            else:
                yield UnusableEntry(f"{where(entry)}, region {number + 1}", NO_CAPTION)
