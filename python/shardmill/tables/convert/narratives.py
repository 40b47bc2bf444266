"""Localized Narratives: JSON lines {"dataset_id", "image_id", "annotator_id", "caption", "timed_caption", "traces"}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import JsonEntry
from shardmill.tables.jsonl import json_lines

COCO = "mscoco"


class Narrative(CaptionRecord):
    """What an annotator said of a picture. Of COCO's pictures the id is a number, of others the name of the file."""

    dataset_id: str
    image_id: str
    caption: str


def read_narratives(path: Path) -> Iterator[Found]:
    """A row per narrative."""
    for number, line in json_lines(path):
        entry = JsonEntry("", number - 1, number, None)
        try:
            entry.value = json.loads(line)
            narrative = Narrative.model_validate(entry.value)
        except ValidationError as error:
            yield misfit(entry, error)
            continue
        except (ValueError, RecursionError) as error:
            yield UnusableEntry(where(entry), "malformed json", str(error))
            continue
        if not (caption := one_line(narrative.caption)):
            yield UnusableEntry(where(entry), NO_CAPTION)
            continue
        is_number = narrative.dataset_id.startswith(COCO) and narrative.image_id.isdigit()
        name = narrative.image_id.zfill(12) if is_number else narrative.image_id
        yield Captioned(f"{name}.jpg", caption, f"{narrative.image_id}#{number - 1}")
