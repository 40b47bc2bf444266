"""Tables in several files as one, as data sets are published: `train-00000-of-00002.parquet` and so on."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from shardmill.tables.base import ROW_ID, Batch, Table
from shardmill.tables.sniff import TABLE_SUFFIXES
from shardmill.util.compressed import inner_suffix
from shardmill.util.errors import UserError, name_list

WILDCARDS = re.compile(r"[*?\[]")
OF_TOTAL = re.compile(r"(?P<start>.*?)(?P<index>\d+)-of-(?P<total>\d+)(?P<end>.*)")
OPEN_KEYS = ("jsonl", "json")
"""Formats whose files need not have the same columns: a key that is null may be left out."""


def is_pattern(path: Path) -> bool:
    """Whether a path that does not exist names several files, with `*`, `?` or `[`."""
    return bool(WILDCARDS.search(str(path))) and not path.exists()


def folder_of(path: Path) -> Path:
    """The folder that relative paths in an input start from: the input itself, or the folder it is in."""
    if path.is_dir():
        return path
    parent = path.parent
    while is_pattern(parent):
        parent = parent.parent
    return parent


def files_of_pattern(pattern: Path) -> list[Path]:
    """The files that a pattern matches, in the order of their names and numbers."""
    from glob import glob

    files = [path for path in map(Path, glob(str(pattern))) if path.is_file()]
    if not files:
        raise UserError(f"no file matches {pattern}")
    return _in_order(files)


def files_of_folder(folder: Path) -> list[Path]:
    """The tables below a folder, which must be shards of one; none where there are no tables."""
    found = [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and inner_suffix(Path(name)) in TABLE_SUFFIXES
    ]
    kinds = {re.sub(r"\d+", "*", path.relative_to(folder).as_posix()): path for path in sorted(found, reverse=True)}
    if len(kinds) > 1:
        example = folder / min(kinds)
        raise UserError(
            f"{folder} has several tables: {name_list(sorted(kinds), 6)}. Name one, or its shards: --input '{example}'"
        )
    return _in_order(found)


def _in_order(files: Sequence[Path]) -> list[Path]:
    """Files by their names, numbers in these by their values. Raises UserError where a shard of several is missing."""
    shards: dict[tuple[str, str, str], set[int]] = {}
    for path in files:
        if found := OF_TOTAL.fullmatch(path.name):
            shards.setdefault((found["start"], found["total"], found["end"]), set()).add(int(found["index"]))
    for (start, total, end), indices in shards.items():
        missing = sorted(set(range(int(total))) - indices) if int(total) <= 10**6 else []
        if missing and not (min(indices) == 1 and missing == [0] and int(total) in indices):
            names = [f"{start}{index:0{len(total)}d}-of-{total}{end}" for index in missing]
            raise UserError(f"{files[0].parent} lacks {name_list(names, 5)}; copy or download the whole data set")
    return sorted(files, key=lambda path: [(int(part), "") if part.isdigit() else (0, part) for part in _parts(path)])


def _parts(path: Path) -> list[str]:
    return re.split(r"(\d+)", str(path))


class ShardedTable(Table):
    """The records of all files, one file after the other. A record's line is that in its file, which a bad one names."""

    def __init__(self, path: Path, files: Sequence[Path], open_file: Callable[[Path], Table]) -> None:
        self._files, self._open = list(files), open_file
        first = open_file(self._files[0])
        self.format = first.format
        if first.format == "pictures" and len({file.parent for file in self._files}) > 1:
            raise UserError(f"{path} matches tar files in several folders; name one folder")
        super().__init__(path, first.columns, "utf-8")  # each file is judged on its own
        names = name_list([file.name for file in self._files], 3)
        self.remarks += [f"{len(self._files):,} files as one table: {names}", *first.remarks]

    def digest(self) -> tuple[str, int]:
        """SHA-256 of the names and digests of the files, and their bytes in all. Those of each stay in `file_digests`."""
        for file in self._files:
            self.file_digests[str(file.resolve())] = self._open(file).digest()
        listed = "".join(f"{Path(name).name}\0{sha}\n" for name, (sha, _) in self.file_digests.items())
        return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest(), sum(
            size for _, size in self.file_digests.values()
        )

    def _batches(self) -> Iterator[Batch]:
        rows = 0
        self.passed_over.clear()
        for file in self._files:
            table, before = self._open(file), rows
            self._check(file, table)
            for batch in table.batches():
                rows += batch.frame.height + len(batch.bad)
                yield self._moved(batch, before, file.name)
            self.ignored_keys |= table.ignored_keys
            self.passed_over.update(table.passed_over)

    def _check(self, file: Path, table: Table) -> None:
        """A file of another form is another table; keys of JSON that the first file lacks are left out, and noted."""
        other = set(table.columns) ^ set(self.columns)
        if table.format != self.format or (other and self.format not in (*OPEN_KEYS, "pictures")):
            differs = f"only one of them has {name_list(sorted(other))}" if other else "their formats differ"
            raise UserError(f"{file} and {self._files[0]} are not of one table: {differs}; name those of one with a pattern")
        self.ignored_keys |= set(table.columns) - set(self.columns)

    def _moved(self, batch: Batch, by: int, name: str) -> Batch:
        """The batch with the row numbers of the whole table and its columns."""
        lacking = [pl.lit(None, pl.String).alias(column) for column in self.columns if column not in batch.frame.columns]
        frame = batch.frame.with_columns(pl.col(ROW_ID) + by, *lacking).select(ROW_ID, "line", *self.columns)
        bad = [replace(each, row_id=each.row_id + by, detail=f"{name}: {each.detail}".rstrip(": ")) for each in batch.bad]
        return Batch(frame, bad)
