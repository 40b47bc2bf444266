"""The rows of a table, streamed from the finished parts: one shard in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import polars as pl

from shardmill.export.folder import LeftOutRows
from shardmill.export.tables import ExportTable, Row
from shardmill.store.cells import Kind, Kinds, decode
from shardmill.store.image_columns import path_columns, with_absolute_paths
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.errors import UserError

NEAR_DUPLICATE = "near duplicate of an earlier one"


@dataclass(frozen=True)
class TableRows:
    """A table of a run, and the shards that its rows come from.

    Attributes:
        run: The run.
        table: The table.
        shards: The shards that are exported.
        missing: Unfinished shards that `--allow-missing` leaves out.
        report: Called with the number of rows that are done.
    """

    run: RunFolder
    table: ExportTable
    shards: list[int]
    missing: list[int]
    report: Callable[[int], None] = lambda rows: None

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        return self.table.kinds(self.run)

    @cached_property
    def digest(self) -> str:
        """The digest of all that the rows come from: pipeline, seed, and the bytes of the parts."""
        parts = {stage: [self.manifest(stage, shard).part.sha256 for shard in self.shards] for stage in self.table.stages}
        plan = self.run.plan
        return sha256(json.dumps([plan.pipeline, plan.seed, plan.target_rows, parts], sort_keys=True).encode()).hexdigest()

    def absolute(self, frame: pl.DataFrame, but: str | None = None) -> pl.DataFrame:
        """Rows whose image columns hold absolute paths, except the column `but`."""
        named = path_columns(self.run, self.table.stages[0])
        return with_absolute_paths(self.run, frame, [name for name in named if name in frame.columns and name != but])

    def manifest(self, stage: str, shard: int) -> Manifest:
        found = self.run.manifest(stage, shard)
        if found is None:
            raise UserError(f"{stage} shard {shard} was opened again during the export; export again when it is finished")
        return found

    def frames(self, left_out: LeftOutRows, start: int = 0, resumed: bool = False) -> Iterator[tuple[int, pl.DataFrame]]:
        """The rows of each shard from `start` on, with the shard's index; no more rows than the run's target.

        Near duplicates are left out and recorded, except those of the first shard of an export that is `resumed`: they are
        recorded already.
        """
        done = 0
        left = dict.fromkeys(self.table.stages, self.run.plan.target_rows)
        mark_duplicates = self.table.near_duplicates(self.run, self.shards) if self.table.near_duplicates else None
        for shard in self.shards:
            parts = {}
            for stage in self.table.stages:
                room = left[stage]
                if room is not None:
                    left[stage] = max(0, room - self.manifest(stage, shard).rows_out)
                if shard >= start:
                    parts[stage] = first_rows(self.run.read_part(stage, shard)[0], room)
            if shard < start:
                continue
            frame = self.table.join(parts) if self.table.join else parts[self.table.stages[0]]
            if mark_duplicates is not None:
                duplicate = mark_duplicates(frame)
                for row_id, sub_id in () if shard == start and resumed else row_keys(frame.filter(duplicate)):
                    left_out.add(NEAR_DUPLICATE, row_id, "", sub_id)
                frame = frame.filter(~duplicate)
            yield shard, frame
            done += frame.height
            self.report(done)


def open_rows(
    run: RunFolder, table: ExportTable, allow_missing: bool = False, report: Callable[[int], None] = lambda rows: None
) -> TableRows:
    """Check the shards that a table is made of; with `--target-rows`, those from 0 on that hold so many rows.

    Raises UserError naming the shards that are unfinished or corrupt.
    """
    shards, missing = choose_shards(run, table.stages, allow_missing, needed_shards(run, table.stages))
    return TableRows(run, table, shards, missing, report)


def needed_shards(run: RunFolder, stages: Sequence[str]) -> list[int]:
    """All shards, or those from 0 on whose manifests add up to the run's target."""
    target = run.plan.target_rows
    rows = dict.fromkeys(stages, 0)
    for shard in range(run.num_shards) if target is not None else ():
        for stage in stages:
            manifest = run.manifest(stage, shard)
            rows[stage] += manifest.rows_out if manifest else 0
        if min(rows.values()) >= (target or 0):
            return list(range(shard + 1))
    return list(range(run.num_shards))


def first_rows(frame: pl.DataFrame, room: int | None) -> pl.DataFrame:
    """The rows of the first `room` row_ids; all rows for None."""
    if room is None:
        return frame
    return frame.filter(pl.col("row_id").is_in(frame["row_id"].unique(maintain_order=True).head(room).implode()))


def decode_rows(frame: pl.DataFrame, kinds: Kinds) -> Iterator[Row]:
    """The rows as Python values; columns that are not in `kinds` stay as they are."""
    for row in frame.iter_rows(named=True):
        yield {name: decode(value, kinds.get(name, "text")) for name, value in row.items()}


def row_keys(frame: pl.DataFrame) -> list[tuple[Any, Any]]:
    """row_id and sub_id (None if the rows do not have it) of each row."""
    subs = frame["sub_id"].to_list() if "sub_id" in frame.columns else [None] * frame.height
    return list(zip(frame["row_id"].to_list(), subs, strict=True))
