"""Conversations as LLaVA and trainers like it read them: one JSON array of {id, image, conversations}."""

from __future__ import annotations

from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.json_array import JsonArray
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import QuestionAnswer, Row
from shardmill.util.atomic import replacing

IMAGE_TOKEN = "<image>"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.json`: a conversation for each row, with as many turns as it has questions; the first begins with the image token.

    Paths of copied images start from the export's folder: give it to the trainer as `--image_folder`.
    """
    assert source.table.conversation is not None
    name = f"{source.table.name}.json"
    with replacing(folder.path / name) as file:
        array = JsonArray(file)
        for frame in with_image_paths(source, folder, options):
            for row in decode_rows(frame, source.kinds):
                turns = [turn for each in source.table.conversation(row) for turn in turns_of(each)]
                if not turns:
                    folder.left_out.add("no question", row["row_id"], "", row.get("sub_id"))
                    continue
                turns[0]["value"] = f"{IMAGE_TOKEN}\n{turns[0]['value']}"
                array.add({"id": row_name(row), "image": row[IMAGE_PATH], "conversations": turns})
        array.end()
    folder.files[name] = {"rows": array.length}


def turns_of(each: QuestionAnswer) -> list[dict[str, str]]:
    """The two turns of a question and its answer."""
    question, answer = without_image_token(each.question), without_image_token(each.answer)
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def row_name(row: Row) -> str:
    """The id of a row in an export: `42`, or `42-1` if it is one of several lines."""
    return str(row["row_id"]) if row.get("sub_id") is None else f"{row['row_id']}-{row['sub_id']}"


def without_image_token(text: str) -> str:
    """A text without the image token, of which a conversation must have as many as images.

    >>> without_image_token("an <image> of <<image>image>")
    'an  of '
    """
    while IMAGE_TOKEN in text:
        text = text.replace(IMAGE_TOKEN, "")
    return text
