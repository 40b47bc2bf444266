"""MDS: shards for `streaming.StreamingDataset` (mosaicml-streaming), with the image files as they are.

A shard is the number of samples and their offsets (uint32, little-endian), the JSON of its configuration, and the samples; a
sample is the sizes of its cells and the cells, columns in the order of their names (streaming/base/format/mds/writer.py).
Written here, since no version of that package can be installed beside the versions of transformers and datasets used here.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from shardmill.export.folder import ExportFolder
from shardmill.export.options import ExportOptions
from shardmill.export.parquet import embed_images, embeds, slice_frames
from shardmill.export.rows import TableRows
from shardmill.store.cells import Kinds
from shardmill.util.atomic import replacing

MAX_SHARD = 2**32 - 1
"""Bytes: offsets are 32-bit."""
INDEX = "index.json"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`shard.00000.mds` and so on, none larger than `max_size` unless one sample is, and `index.json`."""
    encodings = encodings_of(source, options)
    limit = min(options.max_size, MAX_SHARD)
    shards: list[dict[str, Any]] = []
    shard = MdsShard(folder, encodings, limit)
    try:
        for sample in _samples(source, folder, options, encodings):
            if shard.sizes and shard.size + len(sample) + 4 > limit:
                shards.append(shard.publish(len(shards)))
                shard = MdsShard(folder, encodings, limit)
            shard.add(sample)
        if shard.sizes:
            shards.append(shard.publish(len(shards)))
    finally:
        shard.close()
    with replacing(folder.path / INDEX) as file:
        file.write(json.dumps({"version": 2, "shards": shards}, sort_keys=True).encode())
    folder.files[INDEX] = {"rows": None}


def encodings_of(source: TableRows, options: ExportOptions) -> dict[str, str]:
    """The columns, by name, with how their cells are encoded: an image as its file, text as text, all else as JSON.

    `jpeg` is read by whatever the file's content is. Missing text is empty.
    """
    found = {name: "str" if kind == "text" else "json" for name, kind in source.kinds.items()}
    if embeds(source, options):
        found[str(source.table.image_column)] = "jpeg"
    return dict(sorted(found.items()))


def _samples(source: TableRows, folder: ExportFolder, options: ExportOptions, encodings: Mapping[str, str]) -> Iterator[bytes]:
    frames = (embed_images if embeds(source, options) else slice_frames)(source, folder, options.max_size)
    for frame in frames:
        for row in frame.iter_rows(named=True):
            cells = [encode(row[name], encoding, source.kinds, name) for name, encoding in encodings.items()]
            yield struct.pack(f"<{len(cells)}I", *map(len, cells)) + b"".join(cells)


def encode(value: Any, encoding: str, kinds: Kinds, name: str) -> bytes:
    """A cell of a frame as its bytes; a json column is JSON text already."""
    if encoding == "jpeg":
        return bytes(value["bytes"])
    if encoding == "str" or (kinds[name] == "json" and value is not None):
        return (value or "").encode("utf-8")
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


class MdsShard:
    """A shard that is being made; its samples wait in a temporary file, as their offsets come first."""

    def __init__(self, folder: ExportFolder, encodings: Mapping[str, str], limit: int):
        self.config = {
            "version": 2,
            "format": "mds",
            "compression": None,
            "hashes": [],
            "size_limit": limit,
            "column_names": list(encodings),
            "column_encodings": list(encodings.values()),
            "column_sizes": [None] * len(encodings),
        }
        self._folder = folder
        self._header = json.dumps(self.config, sort_keys=True).encode()
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=folder.path)  # noqa: SIM115 (open until the shard is published)
        self.sizes: list[int] = []
        self.size = 4 + 4 + len(self._header)

    def add(self, sample: bytes) -> None:
        """Add a sample."""
        self._spool.write(sample)
        self.sizes.append(len(sample))
        self.size += len(sample) + 4

    def publish(self, number: int) -> dict[str, Any]:
        """Write the shard's file; returns its entry in the index."""
        name = f"shard.{number:05d}.mds"
        offsets = [4 + 4 * (len(self.sizes) + 1) + len(self._header)]
        for size in self.sizes:
            offsets.append(offsets[-1] + size)
        self._spool.seek(0)
        with replacing(self._folder.path / name) as file:
            file.write(struct.pack(f"<{len(offsets) + 1}I", len(self.sizes), *offsets) + self._header)
            shutil.copyfileobj(self._spool, file, 1 << 20)
        self.close()
        self._folder.files[name] = {"rows": len(self.sizes)}
        raw = {"basename": name, "bytes": self.size, "hashes": {}}
        return {**self.config, "samples": len(self.sizes), "raw_data": raw, "zip_data": None}

    def close(self) -> None:
        """Drop the samples that are not published."""
        self._spool.close()
