"""Captions as COCO has them: images, and annotations {id, image_id, caption}, as pycocotools and caption trainers read them."""

from __future__ import annotations

import polars as pl

from shardmill.export.coco import coco_file, with_sizes
from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, NO_TEXT, with_image_paths
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows
from shardmill.store.frames import LIST

IMAGE, TEXTS = "exported\nkey", "exported\ntexts"
"""Temporary columns. No run has columns of these names: ingest refuses names with a line break."""


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.captions.json`: each image once, under the row_id of its first row, with the texts of all rows that name it."""
    name = f"{source.table.name}.captions.json"
    ids: dict[str, int] = {}
    with coco_file(source, folder, name) as (images, annotations, _):
        for frame in with_image_paths(source, folder, options):
            rows = texts_by_image(frame, source).iter_rows(named=True)
            for row, (width, height) in with_sizes(rows, folder):
                if not row[TEXTS]:
                    folder.left_out.add(NO_TEXT, row["row_id"], "")
                    continue
                if row[IMAGE] not in ids:
                    ids[row[IMAGE]] = row["row_id"]
                    images.add({"id": row["row_id"], "file_name": row[IMAGE_PATH], "width": width, "height": height})
                for text in row[TEXTS]:
                    annotations.add({"id": annotations.length + 1, "image_id": ids[row[IMAGE]], "caption": text})
    folder.files[name] = {"rows": images.length, "annotations": annotations.length}


def texts_by_image(frame: pl.DataFrame, source: TableRows) -> pl.DataFrame:
    """A row for each image of the frame, with all its texts that are not blank, each once."""
    assert source.table.texts is not None and source.table.image_column is not None
    texts = source.table.texts.cast(LIST).fill_null(pl.lit([], dtype=LIST))
    said = pl.element().filter(pl.element().str.strip_chars() != "")
    return (
        frame.select("row_id", IMAGE_PATH, pl.col(source.table.image_column).alias(IMAGE), texts.alias(TEXTS))
        .group_by(IMAGE, maintain_order=True)
        .agg(pl.col("row_id", IMAGE_PATH).first(), pl.col(TEXTS).list.explode(empty_as_null=True))
        .with_columns(pl.col(TEXTS).list.eval(said).list.unique(maintain_order=True))
    )
