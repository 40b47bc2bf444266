"""Combine: the verified concatenation of all parts of a stage into one file, streamed in shard order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl
from polars.io.plugins import register_io_source

from shardmill.store.cells import Kinds
from shardmill.store.frames import DTYPES, LIST, read_frame, real_lists, write_frame
from shardmill.store.image_columns import with_absolute_paths
from shardmill.store.manifest import totals
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_lineage, refuse, refuse_if_changed
from shardmill.util.atomic import discard, make_folder, put_in_place, replacing, sync_file, temporary_name
from shardmill.util.errors import UserError, did_you_mean

ROW_GROUP = 50_000
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class Combined:
    """What was written where. `missing` are the shards left out on demand."""

    path: Path
    rows_in: int
    rows_out: int
    lines: int
    reasons: dict[str, int]
    missing: list[int]


def combine(run: RunFolder, stage: str, out: Path, *, allow_missing: bool = False) -> Combined:
    """Write all parts of a stage to one CSV, JSONL or Parquet file, by the suffix of `out`.

    Every part is checked against its manifest first, and its lineage back to ingest. Raises UserError naming the shards and the
    command that repairs them when any is missing, corrupt, stale or of another fingerprint; `allow_missing` leaves unfinished
    shards out (nothing else) and says so in the file's name.
    """
    format = SUFFIXES.get(out.suffix)
    if format is None:
        raise UserError(f"cannot tell the format of {out.name!r} by its suffix; {did_you_mean(out.suffix, SUFFIXES)}")
    if out.is_dir():
        raise UserError(f"{out} is a folder; give the name of a file")
    stage = INGEST if stage == INGEST else run.stage(stage).name
    check = check_lineage(run, [stage])
    refuse(run, check, allow_missing=allow_missing)
    if not check.finished:
        raise UserError(f"{stage} has no finished shard yet; nothing was written")
    missing = check.left_out
    path = partial_name(out, len(check.finished), run.num_shards) if missing else out
    write_parts(run, stage, check.finished, path, format)
    sums = totals(manifest for shard in check.finished if (manifest := run.manifest(stage, shard)))
    return Combined(path, sums["rows_in"], sums["rows_out"], sums["lines_out"], sums["reasons"], missing)


def partial_name(out: Path, finished: int, count: int) -> Path:
    """`captions.csv` with shards missing is `captions.partial-14-of-16.csv`."""
    return out.with_name(f"{out.stem}.partial-{finished}-of-{count}{out.suffix}")


def write_parts(run: RunFolder, stage: str, shards: Sequence[int], path: Path, format: str, absolute: Sequence[str] = ()) -> None:
    """Write the parts of a stage, which are checked already, as one CSV, JSONL or Parquet file.

    The image columns that are `absolute` get absolute paths.
    """
    kinds = run.kinds(stage)
    parts = [run.files(stage, shard).part for shard in shards]

    def read(part: Path) -> pl.DataFrame:
        return with_absolute_paths(run, read_frame(part, kinds, run.plan.part_format), absolute)

    if format == "parquet":
        _write_parquet(run, parts, read, kinds, path)
        return
    with replacing(path) as target:
        for index, part in enumerate(parts):
            if format == run.plan.part_format and not absolute:
                _append(part, target, skip_header=format == "csv" and index > 0)
            else:
                write_frame(read(part), kinds, target, format, header=index == 0)
        refuse_if_changed(run)


def _append(part: Path, target: IO[bytes], *, skip_header: bool) -> None:
    """Copy the bytes of a part; its header, which holds no newline, only once."""
    with open(part, "rb") as source:
        if skip_header:
            source.readline()
        shutil.copyfileobj(source, target, 1 << 20)


def _write_parquet(run: RunFolder, parts: Sequence[Path], read: Callable[[Path], pl.DataFrame], kinds: Kinds, path: Path) -> None:
    """Stream into Parquet; lists become real lists of text. One part is in memory at a time: `pl.concat` would read ahead."""
    make_folder(path.parent)
    temporary = temporary_name(path)

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        for part in parts:
            yield read(part).with_columns(real_lists(kinds))

    schema = {name: LIST if kind == "list" else DTYPES[kind] for name, kind in kinds.items()}
    try:
        register_io_source(frames, schema=schema).sink_parquet(temporary, row_group_size=ROW_GROUP)
        sync_file(temporary)
        refuse_if_changed(run)
        put_in_place(temporary, path)
    finally:
        discard(temporary)
