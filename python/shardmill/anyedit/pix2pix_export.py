"""Edits as trainers of InstructPix2Pix read them: Parquet with each instruction and the images before and after it inside.

The names are the defaults of diffusers' `train_instruct_pix2pix.py` (input_image, edit_prompt, edited_image), then the captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import yaml

from shardmill.export.folder import ExportFolder
from shardmill.export.formats import ExportFormat
from shardmill.export.image_paths import NO_IMAGE, load_image
from shardmill.export.images import ExportImage, ExportImages, copied_path, map_ahead
from shardmill.export.options import ExportOptions
from shardmill.export.parquet import IMAGE, MAX_BATCH_BYTES, MAX_BATCH_ROWS, write_frames
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import ExportTable, Row
from shardmill.models.images import UnreadableImage
from shardmill.store.image_columns import EDITED_IMAGE, GENERATED_IMAGE, INPUT_IMAGE

TABLE = "edits"
BEFORE, AFTER = "input_image", "edited_image"
TEXTS = {"edit_prompt": "edit", "original_prompt": "edit_input", "edited_prompt": "output", "edit_type": "edit_type"}
SCHEMA: dict[str, pl.DataType] = {
    BEFORE: IMAGE, "edit_prompt": pl.String(), AFTER: IMAGE, "original_prompt": pl.String(), "edited_prompt": pl.String(),
    "edit_type": pl.String(), "row_id": pl.Int64(), "sub_id": pl.Int64(),
}  # fmt: skip
DTYPES = {IMAGE: "image", pl.String(): "string", pl.Int64(): "int64"}
CARD = "README.md"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`data/edits-00000.parquet` and so on, and a card, so that `load_dataset(FOLDER)` opens the images."""
    name = source.table.name
    write_frames(edit_frames(source, folder, options.max_size), SCHEMA, folder, f"data/{name}", options)
    features = [{"name": column, "dtype": DTYPES[dtype]} for column, dtype in SCHEMA.items()]
    header = {
        "configs": [{"config_name": name, "data_files": [{"split": "train", "path": f"data/{name}-*.parquet"}]}],
        "dataset_info": [{"config_name": name, "features": features}],
    }
    folder.write_text(CARD, f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{source.table.description}\n")


def edit_frames(source: TableRows, folder: ExportFolder, max_size: int) -> Iterator[pl.DataFrame]:
    """The edits in batches. Those of which an image cannot be read are left out and recorded."""
    lines: list[dict[str, Any]] = []
    waiting = 0
    for row, images in edits(source, folder):
        failed = next((image for image in images if isinstance(image, UnreadableImage)), None)
        if failed is not None:
            folder.left_out.add(NO_IMAGE, row["row_id"], str(failed), row["sub_id"])
            continue
        cells = [{"bytes": image.data, "path": image_name(row, image)} for image in images if isinstance(image, ExportImage)]
        texts = {column: row[name] for column, name in TEXTS.items()}
        lines.append(
            {**dict(zip((BEFORE, AFTER), cells, strict=True)), **texts, "row_id": row["row_id"], "sub_id": row["sub_id"]}
        )
        waiting += sum(len(cell["bytes"]) for cell in cells)
        if waiting >= min(MAX_BATCH_BYTES, max_size) or len(lines) >= MAX_BATCH_ROWS:
            yield pl.DataFrame(lines, schema=SCHEMA)
            lines, waiting = [], 0
    if lines:
        yield pl.DataFrame(lines, schema=SCHEMA)


def edits(source: TableRows, folder: ExportFolder) -> Iterator[tuple[Row, list[ExportImage | UnreadableImage]]]:
    """The rows with their images before and after, read ahead."""
    names = [GENERATED_IMAGE if GENERATED_IMAGE in source.kinds else INPUT_IMAGE, EDITED_IMAGE]
    columns = [ExportImages(source.run, name) for name in names]
    for _, frame in source.frames(folder.left_out):
        rows = decode_rows(frame, source.kinds)
        yield from map_ahead(lambda row: [load_image(images, row[images.column]) for images in columns], rows)


def image_name(row: Row, image: ExportImage) -> str:
    """The file name of an image in the table."""
    return copied_path(row["row_id"], image.suffix).rpartition("/")[2]


def fits(table: ExportTable) -> bool:
    """Whether a table has edits with the images before and after."""
    return table.name == TABLE and table.image_column == EDITED_IMAGE


FORMAT = ExportFormat(
    "InstructPix2Pix: images before and after", "edits with edited images", fits, write, ("max_size",), copies_images=True
)
