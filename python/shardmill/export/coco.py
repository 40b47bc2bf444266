"""Boxes as COCO has them: images, annotations with boxes as [x, y, width, height] in pixels, and categories.

Sizes and boxes are those of the upright image, rotated by its EXIF tag.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shardmill.core.model_stages import read_detections
from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, NO_IMAGE, with_image_paths
from shardmill.export.images import map_ahead
from shardmill.export.json_array import JsonArray
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import Row
from shardmill.models.images import UnreadableImage, size_of
from shardmill.util.atomic import replacing


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.json`: each image once, with the boxes of its objects. Categories are numbered in the order of their first box.

    An annotation also has the `score` of its object: the highest that the detector gave it.
    """
    assert source.table.boxes is not None
    detections, names = source.table.boxes
    name = f"{source.table.name}.json"
    categories: dict[str, int] = {}
    with coco_file(source, folder, name) as (images, annotations, rest):
        for row, (width, height) in rows_with_size(source, folder, options):
            images.add({"id": row["row_id"], "file_name": row[IMAGE_PATH], "width": width, "height": height})
            found = read_detections(row[detections] or {})
            for thing in row[names] or []:
                for box in found[thing].boxes if thing in found else ():
                    if (inside := clipped(box, width, height)) is None:
                        folder.left_out.add("box outside of the image", row["row_id"], f"{thing}: {list(box)}")
                        continue
                    annotations.add(
                        {
                            "id": annotations.length + 1,
                            "image_id": row["row_id"],
                            "category_id": categories.setdefault(thing, len(categories) + 1),
                            "bbox": inside,
                            "area": round(inside[2] * inside[3], 2),
                            "iscrowd": 0,
                            "score": found[thing].score,
                        }
                    )
        listed = [{"id": number, "name": thing, "supercategory": "object"} for thing, number in categories.items()]
        rest["categories"] = listed
    folder.files[name] = {"rows": images.length, "annotations": annotations.length, "categories": len(categories)}


@contextmanager
def coco_file(source: TableRows, folder: ExportFolder, name: str) -> Iterator[tuple[JsonArray, JsonArray, dict[str, Any]]]:
    """A file in COCO's form: its images and annotations, to be added one by one, and what else it is to hold."""
    info = json.dumps({"description": f"{source.run.plan.pipeline}: {source.table.description}", "version": source.digest[:16]})
    rest: dict[str, Any] = {}
    with replacing(folder.path / name) as file, tempfile.TemporaryFile(dir=folder.path) as spool:
        file.write(f'{{"info": {info}, "licenses": [], "images": '.encode())
        images, annotations = JsonArray(file), JsonArray(spool)
        yield images, annotations, rest
        images.end()
        annotations.end()
        file.write(b', "annotations": ')
        spool.seek(0)
        shutil.copyfileobj(spool, file, 1 << 20)
        for key, value in rest.items():
            file.write(f", {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}".encode())
        file.write(b"}\n")


def rows_with_size(source: TableRows, folder: ExportFolder, options: ExportOptions) -> Iterator[tuple[Row, tuple[int, int]]]:
    """The first row of each row_id with the (width, height) of its image, read from the image's header."""
    for frame in with_image_paths(source, folder, options):
        once = frame.unique("row_id", keep="first", maintain_order=True).select("row_id", IMAGE_PATH, *(source.table.boxes or ()))
        yield from with_sizes(decode_rows(once, source.kinds), folder)


def with_sizes(rows: Iterable[Row], folder: ExportFolder) -> Iterator[tuple[Row, tuple[int, int]]]:
    """Rows with the (width, height) of their images; those whose image cannot be read are left out and recorded."""

    def measure(row: Row) -> tuple[int, int] | UnreadableImage:
        try:
            return size_of(str(folder.path / row[IMAGE_PATH]))
        except UnreadableImage as error:
            return error

    for row, size in map_ahead(measure, rows):
        if isinstance(size, UnreadableImage):
            folder.left_out.add(NO_IMAGE, row["row_id"], str(size))
        else:
            yield row, size


def clipped(box: Sequence[float], width: int, height: int) -> list[Any] | None:
    """[x, y, width, height] of the part of a box (left, top, right, bottom) that is in the image; None if there is none.

    >>> clipped((-2.0, 10.0, 30.5, 90.0), 40, 60)
    [0, 10.0, 30.5, 50.0]
    """
    left, right = (min(max(side, 0), width) for side in (box[0], box[2]))
    top, bottom = (min(max(side, 0), height) for side in (box[1], box[3]))
    if not (right > left and bottom > top):  # false for NaN too
        return None
    return [left, top, round(right - left, 2), round(bottom - top, 2)]
