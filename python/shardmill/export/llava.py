"""Conversations as LLaVA reads them, one JSON array of {id, image, conversations}; LLaMA-Factory and ms-swift read it too."""

from __future__ import annotations

from collections.abc import Iterator

from shardmill.export.dataset_info import write_dataset_info
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

    Paths of copied images start from the export's folder: give it to LLaVA as `--image_folder`. `dataset_info.json` is for
    LLaMA-Factory.
    """
    name = f"{source.table.name}.json"
    with replacing(folder.path / name) as file:
        array = JsonArray(file)
        for row, questions in conversations(source, folder, options):
            turns = [turn for each in questions for turn in turns_of(each)]
            turns[0]["value"] = f"{IMAGE_TOKEN}\n{turns[0]['value']}"
            array.add({"id": row_name(row), "image": row[IMAGE_PATH], "conversations": turns})
        array.end()
    folder.files[name] = {"rows": array.length}
    write_dataset_info(folder, source.table.name, name, {"messages": "conversations", "images": "image"})


def conversations(source: TableRows, folder: ExportFolder, options: ExportOptions) -> Iterator[tuple[Row, list[QuestionAnswer]]]:
    """The rows with their questions, without image tokens; a row without a question is left out and recorded."""
    assert source.table.conversation is not None
    for frame in with_image_paths(source, folder, options):
        for row in decode_rows(frame, source.kinds):
            found = source.table.conversation(row)
            if found:
                plain = (map(without_image_token, (each.question, each.answer)) for each in found)
                yield row, [QuestionAnswer(*each) for each in plain]
            else:
                folder.left_out.add("no question", row["row_id"], "", row.get("sub_id"))


def turns_of(each: QuestionAnswer) -> list[dict[str, str]]:
    """The two turns of a question and its answer."""
    return [{"from": "human", "value": each.question}, {"from": "gpt", "value": each.answer}]


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
