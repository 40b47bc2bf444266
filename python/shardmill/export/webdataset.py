"""WebDataset: tar shards of samples KEY.jpg, KEY.txt, KEY.json, with the image files as they are.

Keys come from row_ids. A finished tar is recorded in the export's progress with the position at which the next one begins, so
that an interrupted export resumes there, and its tars are the same as without the interruption.

Hugging Face `datasets` and the Hub's viewer take the fields from the first five samples, and fail on others. So all samples have
the same members: all images have the suffix of the first, or jpg (readers go by their content), and in KEY.json lists and
dictionaries are JSON text, as in CSV, and a missing text is empty.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import yaml

from shardmill.export.folder import MAKING, ExportFolder
from shardmill.export.image_paths import NO_IMAGE, NO_TEXT, load_image
from shardmill.export.images import ExportImage, ExportImages, map_ahead
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import Row
from shardmill.export.tar_shards import END, Member, TarShard, size_in_tar
from shardmill.models.images import UnreadableImage
from shardmill.store.cells import Kinds

TEXTS = "exported\ntexts"
"""A temporary column of texts. No run has a column of this name: ingest refuses names with a line break."""
SIZES, CARD = "sizes.json", "README.md"
READ_SUFFIXES = ("jpg", "png", "webp")
"""Those by which open_clip finds an image; it leaves out other samples without a word."""
Position = tuple[int, int]
"""A shard and the number of a row in it."""


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT-000000.tar` and so on, none larger than `max_size` unless one image is, `sizes.json`, and a card."""
    start = resume(folder)
    suffix = folder.progress[0].get("suffix") if start else None
    tar: TarShard | None = None
    try:
        for position, row, image in read_samples(source, folder, start, "text" if options.every_text else "texts"):
            if isinstance(image, UnreadableImage):
                folder.left_out.add(NO_IMAGE, row["row_id"], str(image), row.get("sub_id"))
                continue
            suffix = suffix or (image.suffix if image.suffix in READ_SUFFIXES else READ_SUFFIXES[0])
            row_samples = samples_of(row, replace(image, suffix=suffix), options.every_text)
            if not row_samples:
                folder.left_out.add(NO_TEXT, row["row_id"], "", row.get("sub_id"))
                continue
            if tar is not None and tar.size + sum(map(size_in_tar, row_samples)) + END > options.max_size:
                publish(tar, folder, position, suffix)
                tar = None
            tar = tar or TarShard(folder.path / f"{source.table.name}-{len(folder.files):06d}.tar", folder.path / MAKING)
            for members in row_samples:
                tar.add(members)
        if tar is not None:
            publish(tar, folder, (source.run.num_shards, 0), suffix or "")
    finally:
        if tar is not None:
            tar.close()
    describe(source.table.name, folder)


def describe(table: str, folder: ExportFolder) -> None:
    """Write how many samples each tar has, for open_clip, and a card that names the tars, for `load_dataset(FOLDER)`."""
    if not folder.files:
        return
    sizes = {name: entry["rows"] for name, entry in folder.files.items()}
    folder.write_text(SIZES, json.dumps(sizes, indent=1) + "\n")
    configs = [{"config_name": table, "data_files": [{"split": "train", "path": f"{table}-*.tar"}]}]
    folder.write_text(CARD, f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False)}---\n")


def publish(tar: TarShard, folder: ExportFolder, following: Position, suffix: str) -> None:
    """Finish a tar; the next one begins at the position `following`."""
    record = tar.publish()
    folder.files[tar.path.name] = record
    left_out = folder.left_out.mark()
    folder.note({"tar": tar.path.name, "record": record, "next": following, "left_out": left_out, "suffix": suffix})


def resume(folder: ExportFolder) -> Position | None:
    """Keep the tars that an earlier attempt finished and that still exist; the position to resume at, None for the beginning."""
    finished: list[dict[str, Any]] = []
    for entry in folder.progress:
        # An attempt that found a tar missing made that one and all after it again.
        finished = [*(each for each in finished if each["tar"] < entry["tar"]), entry]
    start: Position | None = None
    for entry in finished:
        path = folder.path / entry["tar"]
        if not path.is_file() or path.stat().st_size != entry["record"]["bytes"]:
            break
        folder.files[entry["tar"]] = entry["record"]
        start = tuple(entry["next"])
        mark = entry["left_out"]
    folder.left_out.rewind(mark if start else {"bytes": 0, "counts": {}})
    return start


def read_samples(
    source: TableRows, folder: ExportFolder, start: Position | None, own: str
) -> Iterator[tuple[Position, Row, ExportImage | UnreadableImage]]:
    """The rows from a position on, with their texts and images, read ahead within a shard.

    A column of the input that has the name of the samples' `own` field becomes input_NAME.
    """
    assert source.table.image_column is not None
    images = ExportImages(source.run, source.table.image_column)
    shard_from, row_from = start or (0, 0)
    for shard, frame in source.frames(folder.left_out, shard_from, resumed=start is not None):
        kinds = source.kinds
        if source.table.texts is not None:
            frame = frame.with_columns(source.table.texts.alias(TEXTS))
            from_input = own in source.run.plan.input.columns and own not in source.table.joined_columns
            if own in frame.columns and from_input:
                renamed = free_name(own, frame.columns)
                frame, kinds = frame.rename({own: renamed}), {**kinds, renamed: kinds[own]}
        skipped = row_from if shard == shard_from else 0
        rows = decode_rows(*flat(frame.slice(skipped), kinds))
        for number, (row, image) in enumerate(map_ahead(lambda row: load_image(images, row[images.column]), rows), skipped):
            yield (shard, number), row, image


def flat(frame: pl.DataFrame, kinds: Kinds) -> tuple[pl.DataFrame, Kinds]:
    """The rows with lists and dictionaries as JSON text, and an empty text where one is missing."""
    texts = [name for name, kind in kinds.items() if kind in ("text", "list", "json") and name in frame.columns]
    return frame.with_columns(pl.col(texts).fill_null("")), {**kinds, **dict.fromkeys(texts, "text")}


def free_name(name: str, taken: Collection[str]) -> str:
    """A new name for a column whose name is needed for something else.

    >>> free_name("text", ["text", "input_text"])
    'input_input_text'
    """
    while name in taken:
        name = f"input_{name}"
    return name


def samples_of(row: Row, image: ExportImage, every_text: bool) -> list[list[Member]]:
    """The members of a row's one sample; with `every_text` those of a sample for each of its texts."""
    row = dict(row)
    texts: list[str] | None = row.pop(TEXTS, None)
    key = f"{row['row_id']:012d}" + ("" if row.get("sub_id") is None else f"-{row['sub_id']:04d}")
    if texts is None:
        return [sample_of(key, image, None, row)]
    texts = [text for text in texts if text and text.strip()]
    if texts and not every_text:
        return [sample_of(key, image, texts[0], {**row, "texts": texts})]
    return [sample_of(f"{key}_{number:02d}", image, text, {**row, "text": text}) for number, text in enumerate(texts)]


def sample_of(key: str, image: ExportImage, text: str | None, row: Row) -> list[Member]:
    """The members of one sample: image, text, and the row as JSON."""
    members = [(f"{key}.{image.suffix}", image.data)]
    if text is not None:
        members.append((f"{key}.txt", text.encode("utf-8")))
    return [*members, (f"{key}.json", json.dumps(row, ensure_ascii=False).encode("utf-8"))]
