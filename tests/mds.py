"""MDS files read as mosaicml-streaming's `MDSReader` documents them (streaming/base/format/mds/reader.py), in a few lines.

tests/models/test_mds.py reads the same files by that package itself.
"""

from __future__ import annotations

import io
import itertools
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

DECODE: dict[str, Callable[[bytes], Any]] = {
    "str": bytes.decode,
    "json": json.loads,
    "jpeg": lambda data: Image.open(io.BytesIO(data)),
}


def read_mds(folder: Path) -> Iterator[dict[str, Any]]:
    """All samples, in order."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    for shard in index["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        (count,) = struct.unpack_from("<I", data)
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        config = json.loads(data[4 + 4 * (count + 1) : offsets[0]])
        assert count == shard["samples"] and offsets[-1] == len(data)
        assert all(shard[key] == value for key, value in config.items())
        for start, end in itertools.pairwise(offsets):
            yield dict(_cells(data[start:end], config))


def _cells(sample: bytes, config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    at = 4 * len(config["column_names"])
    sizes = struct.unpack_from(f"<{len(config['column_names'])}I", sample)
    for name, encoding, size in zip(config["column_names"], config["column_encodings"], sizes, strict=True):
        yield name, DECODE[encoding](sample[at : at + size])
        at += size
    assert at == len(sample)
