"""Preference pairs as Parquet with TRL's column names: prompt, chosen, rejected, and the images inside the file.

The card says what the columns are, so that `datasets.load_dataset(FOLDER)` opens the images, as TRL's DPO trainer wants them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import yaml

from shardmill.export.dpo import without_tokens
from shardmill.export.folder import ExportFolder
from shardmill.export.options import ExportOptions
from shardmill.export.parquet import IMAGE, embed_images, write_frames
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import Row
from shardmill.util.atomic import replacing

MESSAGES = pl.List(pl.Struct({"role": pl.String(), "content": pl.String()}))
SCHEMA: dict[str, pl.DataType] = {
    "images": pl.List(IMAGE),
    "prompt": MESSAGES,
    "chosen": MESSAGES,
    "rejected": MESSAGES,
    "id": pl.String(),
}
CARD = "README.md"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`data/WHAT-00000.parquet` and so on, and a card. Pairs of questions that are near duplicates are left out."""
    name = source.table.name
    write_frames(_pairs(source, folder, options), SCHEMA, folder, f"data/{name}", options)
    header = {
        "configs": [{"config_name": name, "data_files": [{"split": "train", "path": f"data/{name}-*.parquet"}]}],
        "dataset_info": [{"config_name": name, "features": features()}],
    }
    with replacing(folder.path / CARD) as file:
        file.write(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{source.table.description}\n".encode())
    folder.files[CARD] = {"rows": None}


def features() -> list[dict[str, Any]]:
    """The columns as the card of a Hugging Face dataset declares them; no part is shared, for YAML would write it once."""

    def text(name: str) -> dict[str, Any]:
        return {"name": name, "dtype": "string"}

    texts = [{"name": name, "list": [text("role"), text("content")]} for name in ("prompt", "chosen", "rejected")]
    return [{"name": "images", "list": "image"}, *texts, text("id")]


def _pairs(source: TableRows, folder: ExportFolder, options: ExportOptions) -> Iterator[pl.DataFrame]:
    column = str(source.table.image_column)
    kinds = {name: kind for name, kind in source.kinds.items() if kind != "list"}  # lists are lists already
    for frame in embed_images(source, folder, options.max_size):
        images = frame[column].to_list()
        rows = decode_rows(frame.with_columns(pl.col(column).struct.field("path").alias(column)), kinds)
        lines = [{"images": [image], **_line(source, row, column)} for row, image in zip(rows, images, strict=True)]
        yield pl.DataFrame(lines, schema=SCHEMA)


def _line(source: TableRows, row: Row, column: str) -> dict[str, Any]:
    """The texts of a pair, as TRL's conversational preference data has them."""
    assert source.table.pair is not None
    pair = without_tokens(source.table.pair(row, row[column]))
    return {
        "prompt": [{"role": "user", "content": pair.question}],
        "chosen": [{"role": "assistant", "content": pair.preferred}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "id": pair.id,
    }
