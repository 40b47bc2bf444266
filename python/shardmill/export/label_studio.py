"""Tasks for Label Studio: rows to look at and to tick, with the detector's boxes as predictions.

Images are named as Label Studio serves local files: start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/ (or a folder above the images; `d` then starts from there).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import polars as pl

from shardmill.core.model_stages import read_detections
from shardmill.export.coco import with_sizes
from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.json_array import JsonArray
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import Row
from shardmill.pages.label_studio import interface, task
from shardmill.util.atomic import replacing

TEXTS = "exported\ntexts"
"""A temporary column. No run has a column of this name: ingest refuses names with a line break."""
LOCAL_FILE = "/data/local-files/?d="
INTERFACE = "label_studio_interface.xml"
ROOT = "/"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.tasks.json`, a task for each row, and the labelling interface for the project."""
    name = f"{source.table.name}.tasks.json"
    with replacing(folder.path / name) as file:
        array = JsonArray(file)
        for row, size in with_sizes(image_rows(source, folder, options), folder):
            path = str(folder.path.resolve() / row[IMAGE_PATH])
            data: dict[str, Any] = {"row_id": row["row_id"], "text": "\n".join(row_texts(source, row))}
            if row.get("sub_id") is not None:
                data["sub_id"] = row["sub_id"]
            data["image"] = LOCAL_FILE + quote(path.removeprefix(ROOT))
            array.add(task(data, row_boxes(source, row), size))
        array.end()
    folder.files[name] = {"rows": array.length}
    with replacing(folder.path / INTERFACE) as file:
        file.write(interface("text", source.table.description).encode("utf-8"))
    folder.files[INTERFACE] = {"rows": None}


def image_rows(source: TableRows, folder: ExportFolder, options: ExportOptions) -> Iterator[Row]:
    """The rows that have an image, with its path and the texts of the table."""
    texts = source.table.texts if source.table.texts is not None else pl.lit([], dtype=pl.List(pl.String))
    for frame in with_image_paths(source, folder, options):
        yield from decode_rows(frame.with_columns(texts.alias(TEXTS)), {**source.kinds, TEXTS: "text"})


def row_texts(source: TableRows, row: Row) -> list[str]:
    """What a row says of its image: its texts, or its questions with their answers."""
    if source.table.texts is None and source.table.conversation is not None:
        return [f"{each.question} – {each.answer}" for each in source.table.conversation(row)]
    return [text for text in row[TEXTS] or () if text]


def row_boxes(source: TableRows, row: Row) -> list[tuple[str, float, tuple[float, ...]]]:
    """Name, score and sides of each box of the objects that are there."""
    if source.table.boxes is None:
        return []
    detections, names = source.table.boxes
    found = read_detections(row[detections] or {})
    return [(name, found[name].score, tuple(box)) for name in row[names] or () if name in found for box in found[name].boxes]
