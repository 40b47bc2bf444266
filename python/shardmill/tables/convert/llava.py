"""LLaVA-595K: its chats, [{"id", "image", "conversations"}], and lists of captions, [{"caption", "image_file"}]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import AliasChoices, Field, ValidationError

from shardmill.tables.convert.captions import NO_CAPTION, Captioned, CaptionRecord, Found, UnusableEntry, misfit, one_line, where
from shardmill.tables.json_stream import JsonEntry, json_entries

MODEL_SIDES = ("gpt", "assistant")


class Turn(CaptionRecord):
    """What one side of a chat says."""

    side: str = Field(validation_alias="from")
    value: str


class LlavaChat(CaptionRecord):
    """A picture and a chat about it; the caption is what the model says first."""

    id: int | str | None = None
    image: str
    conversations: list[Turn]


class LlavaCaptions(CaptionRecord):
    """A picture and its caption."""

    id: int | str | None = None
    image: str = Field(validation_alias=AliasChoices("image_file", "image"))
    caption: str


def read_llava(path: Path) -> Iterator[Found]:
    """A row per entry."""
    for entry in json_entries(path):
        yield _row(entry)


def _row(entry: JsonEntry) -> Found:
    try:
        if isinstance(entry.value, dict) and "conversations" in entry.value:
            chat = LlavaChat.model_validate(entry.value)
            said = [turn.value for turn in chat.conversations if turn.side in MODEL_SIDES]
            image, caption, own_id = chat.image, one_line(said[0]) if said else "", chat.id
        else:
            plain = LlavaCaptions.model_validate(entry.value)
            image, caption, own_id = plain.image, one_line(plain.caption), plain.id
    except ValidationError as error:
        return misfit(entry, error)
    if not caption:
        return UnusableEntry(where(entry), NO_CAPTION, "", entry.value)
    return Captioned(image, caption, str(entry.position if own_id is None else own_id))
