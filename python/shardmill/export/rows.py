"""The rows of an offer, streamed from the finished parts: one shard in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import polars as pl

from shardmill.export.folder import LeftOut
from shardmill.export.offer import Offer, Row
from shardmill.store.cells import Kind, Kinds, decode
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards

DOUBLE = "near duplicate of an earlier one"


@dataclass(frozen=True)
class OfferRows:
    """An offer of a run, and the shards that it is taken from. `missing` are those left out on demand.

    `report` is told how many rows are done.
    """

    run: RunFolder
    offer: Offer
    shards: list[int]
    missing: list[int]
    report: Callable[[int], None] = lambda rows: None

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        return self.offer.kinds(self.run)

    @cached_property
    def digest(self) -> str:
        """Of all that the rows come from: pipeline, seed, and the bytes of the parts."""
        parts = {stage: [self.manifest(stage, shard).part.sha256 for shard in self.shards] for stage in self.offer.stages}
        plan = self.run.plan
        return sha256(json.dumps([plan.pipeline, plan.seed, plan.target_rows, parts], sort_keys=True).encode()).hexdigest()

    def manifest(self, stage: str, shard: int) -> Manifest:
        found = self.run.manifest(stage, shard)
        assert found is not None, "the shards were checked"
        return found

    def tables(self, left_out: LeftOut, start: int = 0, resumed: bool = False) -> Iterator[tuple[int, pl.DataFrame]]:
        """The table of each shard from `start` on, with the shard's number; no more rows than the run's target.

        Doubles are left out and written down; those of the first table were before, where an export is `resumed`.
        """
        done = 0
        left = dict.fromkeys(self.offer.stages, self.run.plan.target_rows)
        is_double = self.offer.doubles(self.run, self.shards) if self.offer.doubles else None
        for shard in self.shards:
            parts = {}
            for stage in self.offer.stages:
                room = left[stage]
                if room is not None:
                    left[stage] = max(0, room - self.manifest(stage, shard).rows_out)
                if shard >= start:
                    parts[stage] = first(self.run.read_part(stage, shard)[0], room)
            if shard < start:
                continue
            table = self.offer.join(parts) if self.offer.join else parts[self.offer.stages[0]]
            if is_double is not None:
                double = is_double(table)
                for row_id, sub_id in () if shard == start and resumed else keys_of(table.filter(double)):
                    left_out.add(DOUBLE, row_id, "", sub_id)
                table = table.filter(~double)
            yield shard, table
            done += table.height
            self.report(done)


def source_of(
    run: RunFolder, offer: Offer, allow_missing: bool = False, report: Callable[[int], None] = lambda rows: None
) -> OfferRows:
    """The checked shards that an offer is taken from; with a target, those from 0 on that hold so many rows.

    Raises UserError naming the shards that are not finished or not sound.
    """
    shards, missing = choose_shards(run, offer.stages, allow_missing, needed(run, offer.stages))
    return OfferRows(run, offer, shards, missing, report)


def needed(run: RunFolder, stages: Sequence[str]) -> list[int]:
    """All shards, or as many as the run's target takes, as far as manifests tell."""
    target = run.plan.target_rows
    rows = dict.fromkeys(stages, 0)
    for shard in range(run.num_shards) if target is not None else ():
        for stage in stages:
            manifest = run.manifest(stage, shard)
            rows[stage] += manifest.rows_out if manifest else 0
        if min(rows.values()) >= (target or 0):
            return list(range(shard + 1))
    return list(range(run.num_shards))


def first(table: pl.DataFrame, room: int | None) -> pl.DataFrame:
    """The rows of the first so many row_ids."""
    if room is None:
        return table
    return table.filter(pl.col("row_id").is_in(table["row_id"].unique(maintain_order=True).head(room).implode()))


def decoded(table: pl.DataFrame, kinds: Kinds) -> Iterator[Row]:
    """The rows as Python values; columns that are in no `kinds` stay as they are."""
    for row in table.iter_rows(named=True):
        yield {name: decode(value, kinds.get(name, "text")) for name, value in row.items()}


def keys_of(table: pl.DataFrame) -> list[tuple[Any, Any]]:
    """row_id and sub_id (None where a table has none) of each row."""
    subs = table["sub_id"].to_list() if "sub_id" in table.columns else [None] * table.height
    return list(zip(table["row_id"].to_list(), subs, strict=True))
