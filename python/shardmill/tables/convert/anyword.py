"""AnyWord-3M, captions with the texts in the picture: {"data_list": [{"img_name", "caption", "annotations"}]}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import JsonEntry, json_entries

LIST, LATIN = "data_list", "latin"
UNREAD = "###"
"""What annotators write for a text that cannot be read."""


class TextLine(CaptionRecord):
    """A text in the picture."""

    text: str = ""
    language: str | None = None
    valid: bool = True


class AnyWordImage(CaptionRecord):
    """A picture with its texts."""

    img_name: str
    caption: str | None = None
    annotations: list[TextLine] = []


def read_anyword(path: Path) -> Iterator[Found]:
    """A row per picture with a caption and at least one readable Latin text; all of these are kept, each once."""
    for entry in json_entries(path, (LIST,)):
        if entry.position is not None:
            yield _row(entry)


def _row(entry: JsonEntry) -> Found:
    try:
        picture = AnyWordImage.model_validate(entry.value)
    except ValidationError as error:
        return misfit(entry, error)
    latin = (line for line in picture.annotations if line.valid and (line.language or "").lower() == LATIN)
    texts = tuple(dict.fromkeys(text for line in latin if (text := one_line(line.text)) and UNREAD not in text))
    if not texts:
        return UnusableEntry(where(entry), "no Latin text", f"{len(picture.annotations)} annotations", entry.value)
    caption = one_line(picture.caption)
    if not caption:
        return UnusableEntry(where(entry), NO_CAPTION, "", entry.value)
    return Captioned(picture.img_name, caption, str(entry.position), texts)
