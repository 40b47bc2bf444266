"""A dataset for FiftyOne: `fo.Dataset.from_dir(dataset_dir=FOLDER, dataset_type=fo.types.LegacyFiftyOneDataset)`.

`samples.json` has the samples as FiftyOne writes them, the detector's boxes as detections. It is the form without database
documents, which FiftyOne reads in any version; the fields are found from the samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from shardmill.export.coco import with_sizes
from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH
from shardmill.export.json_array import JsonArray
from shardmill.export.label_studio import image_rows, row_boxes, row_texts
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows
from shardmill.export.tables import Row
from shardmill.util.atomic import replacing

OWN = ("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "dataset_id")
"""Fields of every sample of FiftyOne, and of its database."""
OBJECTS, TEXTS_FIELD = "objects", "texts"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`samples.json`, a sample for each row, and `metadata.json`."""
    fields = field_names(list(source.kinds))
    with replacing(folder.path / "samples.json") as file:
        file.write(b'{"samples": ')
        array = JsonArray(file)
        for row, size in with_sizes(image_rows(source, folder, options), folder):
            array.add(sample(source, row, size, fields))
        array.end()
        file.write(b"}\n")
    folder.files["samples.json"] = {"rows": array.length}
    info = {"pipeline": source.run.plan.pipeline, "table": source.table.name, "run_digest": source.digest}
    with replacing(folder.path / "metadata.json") as file:
        file.write(json.dumps({"name": source.table.name, "media_type": "image", "info": info}, indent=1).encode("utf-8"))
    folder.files["metadata.json"] = {"rows": None}


def sample(source: TableRows, row: Row, size: tuple[int, int], fields: dict[str, str]) -> dict[str, Any]:
    """A row as FiftyOne stores a sample; a json column is text."""
    plain = {
        field: json.dumps(row[name], ensure_ascii=False) if source.kinds[name] == "json" else row[name]
        for name, field in fields.items()
    }
    made: dict[str, Any] = {"filepath": row[IMAGE_PATH], "tags": [], **plain}
    if texts := row_texts(source, row):
        made[TEXTS_FIELD] = texts
    if source.table.boxes is not None:
        found = [detection(name, score, box, size) for name, score, box in row_boxes(source, row)]
        made[OBJECTS] = {"_cls": "Detections", "detections": found}
    return made


def detection(name: str, score: float, box: Sequence[float], size: tuple[int, int]) -> dict[str, Any]:
    """A box with sides relative to the image's."""
    width, height = size
    left, right = (min(max(side, 0), width) / width for side in (box[0], box[2]))
    top, bottom = (min(max(side, 0), height) / height for side in (box[1], box[3]))
    relative = [round(side, 5) for side in (left, top, right - left, bottom - top)]
    return {"_cls": "Detection", "tags": [], "label": name, "bounding_box": relative, "confidence": score}


def field_names(columns: list[str]) -> dict[str, str]:
    """The name of each column's field: letters, digits and underscores, and none of FiftyOne's own.

    >>> field_names(["row_id", "id", "new object", "_x"])
    {'row_id': 'row_id', 'id': 'input_id', 'new object': 'new_object', '_x': 'input_x'}
    """
    found: dict[str, str] = {}
    taken = {*OWN, OBJECTS, TEXTS_FIELD}
    for column in columns:
        field = re.sub(r"\W", "_", column, flags=re.ASCII)
        if field.startswith("_") or field[:1].isdigit():
            field = f"input_{field.lstrip('_')}"
        while field in taken:
            field = f"input_{field}"
        taken.add(field)
        found[column] = field
    return found
