"""Merging foreign CSVs that are named by row range, `prefix_{start}_{end}.csv`, as many scripts leave them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shardmill.store.cells import csv_line
from shardmill.tables import open_table
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError, name_list

RANGE = re.compile(r"^(?P<prefix>.*)_(?P<start>\d+)_(?P<end>-1|\d+)(?P<suffix>[^0-9][^/]*)?\.csv$")


@dataclass(frozen=True)
class RangeFile:
    """A file that says it holds the rows [start, end) of a table; `end` is None for `_-1`, to the end of the table."""

    path: Path
    prefix: str
    start: int
    end: int | None
    rows: int


@dataclass(frozen=True)
class Merged:
    """What was merged and what the ranges say about it. Each fault is one line for people."""

    path: Path
    files: list[RangeFile]
    rows: int
    faults: list[str]


def merge_ranges(paths: Sequence[Path], out: Path, *, allow_gaps: bool = False) -> Merged:
    """Concatenate range-named CSVs in the order of their ranges, reporting gaps, overlaps and wrong row counts.

    Raises UserError when a name has no range, prefixes or columns differ, a file has unreadable rows, or (unless `allow_gaps`)
    there is any fault; then nothing is written.
    """
    if not paths:
        raise UserError("no files to merge")
    files = sorted((_range_file(path) for path in paths), key=lambda file: (file.start, file.path.name))
    prefixes = sorted({file.prefix for file in files})
    if len(prefixes) > 1:
        raise UserError(f"the files belong to different tables: {', '.join(prefixes)}; merge one prefix at a time")
    columns = open_table(files[0].path).columns
    for file in files:
        other = open_table(file.path).columns
        if other != columns:
            raise UserError(f"{file.path} has the columns {name_list(other)}, but {files[0].path} has {name_list(columns)}")
    faults = range_faults(files)
    if faults and not allow_gaps:
        raise UserError(f"{'; '.join(faults)}; nothing was written. To merge all the same: --allow-missing")
    with replacing(out) as target:
        target.write(csv_line(columns).encode())
        for file in files:
            for batch in open_table(file.path).batches():
                frame = batch.frame.select(columns)
                if len(columns) == 1:  # quoted, since a blank line is not a record
                    frame.fill_null("").write_csv(target, include_header=False, quote_style="always")
                else:
                    frame.write_csv(target, include_header=False)
    return Merged(out, files, sum(file.rows for file in files), faults)


def _range_file(path: Path) -> RangeFile:
    match = RANGE.match(path.name)
    if match is None:
        raise UserError(f"{path.name} is not named by a row range such as prefix_0_1000.csv")
    rows = 0
    for batch in open_table(path).batches():
        if batch.bad:
            bad = batch.bad[0]
            raise UserError(f"{path}, line {bad.line}: {bad.reason} ({bad.detail}); fix the file first")
        rows += batch.frame.height
    end = int(match["end"])
    return RangeFile(path, match["prefix"] + (match["suffix"] or ""), int(match["start"]), None if end == -1 else end, rows)


def range_faults(files: Sequence[RangeFile]) -> list[str]:
    """Gaps, overlaps and files whose number of rows is not what their name says."""
    faults = []
    gaps, overlaps, counts = [], [], []
    position = 0
    for file in files:
        if file.start > position:
            gaps.append(f"{position}-{file.start}")
        elif file.start < position:
            overlaps.append(f"{file.start}-{min(position, file.end or position)}")
        end = file.start + file.rows if file.end is None else file.end
        if end - file.start != file.rows:
            counts.append(f"{file.path.name} has {file.rows} rows, its name says {end - file.start}")
        position = max(position, end)
    if gaps:
        faults.append(f"no file has the rows {', '.join(gaps)}")
    if overlaps:
        faults.append(f"more than one file has the rows {', '.join(overlaps)}")
    return faults + counts
