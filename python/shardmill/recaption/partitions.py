"""A table that is larger than memory, on disk in parts that are not."""

from __future__ import annotations

from pathlib import Path

import polars as pl

MAX_IN_MEMORY = 64 * 2**20
_PART = "part"


class Partitions:
    """Takes rows in any order and gives them back part by part, each in the order in which its rows came.

    Args:
        folder: Where the files are written; it is made.
        schema: The columns of the rows.
        part: The part of each row, a number from 0.
    """

    def __init__(self, folder: Path, schema: dict[str, pl.DataType], part: pl.Expr) -> None:
        folder.mkdir()
        self._folder = folder
        self._schema = schema
        self._part = part.cast(pl.Int64).alias(_PART)
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._files: dict[int, list[Path]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """More rows. Better many at a time."""
        self._waiting.append(rows)
        self._bytes += int(rows.estimated_size())
        if self._bytes > MAX_IN_MEMORY:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        if not self._waiting:
            return
        rows = pl.concat(self._waiting).with_columns(self._part)
        self._waiting, self._bytes = [], 0
        for (part,), some in rows.partition_by(_PART, include_key=False, as_dict=True).items():
            files = self._files.setdefault(int(part), [])
            files.append(self._folder / f"{part}-{len(files)}.arrow")
            some.write_ipc(files[-1])

    def take(self, part: int) -> pl.DataFrame:
        """The rows of a part; their files are deleted."""
        self.flush()
        files = self._files.pop(part, [])
        rows = pl.concat([pl.DataFrame(schema=self._schema), *map(pl.read_ipc, files)])
        for file in files:
            file.unlink()
        return rows
