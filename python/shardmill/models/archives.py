"""Images inside larger files: `SHARD.tar::MEMBER` (WebDataset) and `TABLE.parquet::COLUMN::ROW`."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from shardmill.util.parquet_probe import deadly
from shardmill.util.tars import DamagedTar, TarContents, read_tar

SEPARATOR = "::"
OPEN_FILES = 64
BLOCK, BLOCKS = 64, 32
"""Rows of a Parquet column that are read together, and how many such blocks are kept."""
PROBED = 64 * BLOCK
"""Rows of a Parquet column that are tried together before the first of them is read."""

_reading = threading.Lock()


class MemberNotFound(ValueError):
    """The archive or its member was not found or cannot be read; the message says which."""


def is_member(reference: str) -> bool:
    """Whether a reference names something inside an archive and not a file of its own."""
    return SEPARATOR in reference and not os.path.exists(
        reference
    )  # unlike Path.exists, this takes any text (a NUL, a name too long)


def read_member(reference: str, most: int) -> bytes:
    """The bytes that a reference names. Raises MemberNotFound, also for more than `most` bytes."""
    archive, _, inside = reference.partition(SEPARATOR)
    path = Path(archive)
    if not path.is_file():
        raise MemberNotFound(f"no such file: {archive}")
    stamp = path.stat().st_mtime_ns
    if path.suffix == ".parquet":
        column, _, row = inside.rpartition(SEPARATOR)
        if not row.isdecimal() or len(row) > 18:
            raise MemberNotFound(f"{reference} names no row; write TABLE.parquet{SEPARATOR}COLUMN{SEPARATOR}ROW")
        return _cell(path, stamp, column, int(row))
    try:
        offset, size = _index(path, stamp).members[inside]
    except KeyError:
        raise MemberNotFound(f"{archive} has no member {inside!r}") from None
    if size > most:
        raise MemberNotFound(f"{size:,} bytes are more than {most:,}: {reference}")
    with open(path, "rb") as file:
        return os.pread(file.fileno(), size, offset)


@lru_cache(maxsize=OPEN_FILES)
def _indexed(path: Path, stamp: int) -> TarContents:
    try:
        return read_tar(path)
    except DamagedTar as error:
        raise MemberNotFound(str(error)) from error


def _index(path: Path, stamp: int) -> TarContents:
    """Where each file in a tar is. Members are read in place and never unpacked."""
    with _reading:
        return _indexed(path, stamp)


def _cell(path: Path, stamp: int, column: str, row: int) -> bytes:
    with _reading:
        values = _block(path, stamp, column, row // BLOCK)
    value: Any = values[row % BLOCK] if row % BLOCK < len(values) else None
    if isinstance(value, dict):  # as Hugging Face datasets keep images
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise MemberNotFound(f"row {row} of column {column!r} in {path} is not an image")
    return value


@lru_cache(maxsize=BLOCKS)
def _block(path: Path, stamp: int, column: str, block: int) -> list[Any]:
    import polars as pl

    if fault := deadly(path, column, block * BLOCK // PROBED * PROBED, PROBED):
        raise MemberNotFound(fault)
    try:
        return pl.scan_parquet(path, glob=False).select(column).slice(block * BLOCK, BLOCK).collect().get_column(column).to_list()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise MemberNotFound(f"{path}: {' '.join(str(error).split())[:200]}") from error
