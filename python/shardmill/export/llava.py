"""Conversations as LLaVA and its kin read them: one JSON array of {id, image, conversations}."""

from __future__ import annotations

from shardmill.export.folder import ExportFolder
from shardmill.export.json_array import JsonArray
from shardmill.export.offer import Row
from shardmill.export.options import ExportOptions
from shardmill.export.placed import PLACE, placed
from shardmill.export.rows import OfferRows, decoded
from shardmill.store.atomic import replacing

HEEDED = ("images",)
TOKEN = "<image>"


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.json`: a conversation for each row, with as many turns as it has questions; the first begins with the image token.

    Paths of copied pictures start from the export's folder: that is the trainer's `--image_folder`.
    """
    assert source.offer.talks is not None
    name = f"{source.offer.name}.json"
    with replacing(folder.path / name) as file:
        array = JsonArray(file)
        for table in placed(source, folder, options):
            for row in decoded(table, source.kinds):
                turns = [
                    turn
                    for talk in source.offer.talks(row)
                    for turn in ({"from": "human", "value": plain(talk.question)}, {"from": "gpt", "value": plain(talk.answer)})
                ]
                if not turns:
                    folder.left_out.add("no question", row["row_id"], "", row.get("sub_id"))
                    continue
                turns[0]["value"] = f"{TOKEN}\n{turns[0]['value']}"
                array.add({"id": id_of(row), "image": row[PLACE], "conversations": turns})
        array.end()
    folder.files[name] = {"rows": array.length}


def id_of(row: Row) -> str:
    """What names a row: `42`, or `42-1` where a row came of several."""
    return str(row["row_id"]) if row.get("sub_id") is None else f"{row['row_id']}-{row['sub_id']}"


def plain(text: str) -> str:
    """A text without the image token, of which a conversation must have as many as pictures.

    >>> plain("an <image> of <<image>image>")
    'an  of '
    """
    while TOKEN in text:
        text = text.replace(TOKEN, "")
    return text
