"""Fitting a stage on the rows of a block: by the first worker that needs it, while the others wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import polars as pl

from shardmill.core.stage import FittedStage, TableStage
from shardmill.store.fits import LEASED_AS, FitBlocks, FitManifest
from shardmill.store.leases import LeaseOwner, Leases
from shardmill.store.shard import Shard
from shardmill.store.verify import check_lineage, refuse
from shardmill.util.atomic import new_attempt
from shardmill.util.errors import PlanChanged, Stopped

WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Fit:
    """What a stage learned from a block of the row_ids [start, end)."""

    block: int
    start: int
    end: int
    digest: str
    table: pl.DataFrame


def in_blocks(stage: TableStage, table: pl.DataFrame, fits: Sequence[Fit]) -> Iterator[pl.DataFrame]:
    """The rows of a shard, block by block, with the stage knowing what it learned from each; all at once without `fits`."""
    if not isinstance(stage, FittedStage) or not fits:
        yield table
        return
    for fit in fits:
        stage.fitted = fit.table
        yield table.filter(pl.col("row_id").is_between(fit.start, fit.end, closed="left"))


def columns_read(stage: TableStage, table: pl.DataFrame) -> pl.DataFrame:
    """The keys of a table and the columns that a stage reads."""
    keys = [name for name in ("row_id", "sub_id") if name in table.columns]
    return table.select(*keys, *(name for name in stage.reads if name not in keys))


def fits_of_shard(shard: Shard, stage: TableStage, owner: LeaseOwner | None, should_stop: Callable[[], bool]) -> list[Fit]:
    """The fits of all blocks that hold rows of a shard, computed if they are not there yet; none for a stage that is not fitted.

    Args:
        shard: The shard.
        stage: Its stage.
        owner: With it, a block is leased in this name while it is fitted, so that only one worker does it.
        should_stop: Asked while another worker is waited for.

    Raises:
        PlanChanged: If the stage before has not finished all shards of a block.
        UserError: If some of them are of another plan.
        Stopped: If `should_stop` turned true.
    """
    blocks = shard.run.fit_blocks(shard.stage)
    if blocks is None or not isinstance(stage, FittedStage):
        return []
    return [_fit(shard, stage, blocks, block, owner, should_stop) for block in blocks.of_shard(shard.index)]


def _fit(
    shard: Shard, stage: FittedStage, blocks: FitBlocks, block: int, owner: LeaseOwner | None, should_stop: Callable[[], bool]
) -> Fit:
    files = shard.run.fit_files(shard.stage, block)
    record = files.read_manifest()
    if record is not None and not shard.run.is_planned(shard.stage, record.fingerprint, record.revision):
        files.archive(shard.run.superseded / shard.stage)  # of a worker that did not see a redo yet
        record = None
    if record is None:
        record = _compute(shard, stage, blocks, block, owner, should_stop)
    return Fit(block, *blocks.bounds[block], record.file.sha256, files.read_table(record))


def _compute(
    shard: Shard, stage: FittedStage, blocks: FitBlocks, block: int, owner: LeaseOwner | None, should_stop: Callable[[], bool]
) -> FitManifest:
    """Fit a block, or wait until another worker has done it."""
    run, shards = shard.run, blocks.shards_of(block)
    check = check_lineage(run, [shard.planned.after], shards, depth="origin")
    refuse(run, check, allow_missing=True)
    missing = check.left_out
    if missing:
        raise PlanChanged(
            f"{shard.stage} learns from many shards at once, and {shard.planned.after} has not finished the shards "
            f"{', '.join(map(str, missing[:8]))}; finish that stage first: shardmill run {run.path} {shard.planned.after}"
        )
    files = run.fit_files(shard.stage, block)
    lease = Leases(run.files(shard.stage, shards[0]), replace(owner, attempt=new_attempt())) if owner else None
    with lease or nullcontext():
        while lease is not None and not lease.take(LEASED_AS):
            if should_stop():
                raise Stopped("another worker is fitting the stage")
            time.sleep(WAIT_SECONDS)
            if (record := files.read_manifest()) is not None:
                return record
        record = files.read_manifest() or _fit_rows(shard, stage, blocks, block)
    return record


def _fit_rows(shard: Shard, stage: FittedStage, blocks: FitBlocks, block: int) -> FitManifest:
    """Read the rows of a block and fit the stage on them."""
    run, source = shard.run, shard.planned.after
    start, end = blocks.bounds[block]
    frames, inputs = [], {}
    for each in blocks.shards_of(block):
        part, manifest = run.read_part(source, each)
        frames.append(columns_read(stage, part).filter(pl.col("row_id").is_between(start, end, closed="left")))
        inputs[each] = manifest.part.sha256
    rows = pl.concat(frames)
    fitted = stage.fit(rows)
    facts = stage.facts(fitted)
    shown = ", ".join(f"{name} {value:g}" for name, value in facts.items())
    logging.info("%s was fitted on %s rows: %s", shard.stage, f"{rows.height:,}", shown)
    fingerprint = run.fingerprint(shard.stage)
    return run.fit_files(shard.stage, block).publish(
        fitted,
        rows=rows.height,
        inputs=inputs,
        fingerprint=fingerprint,
        revision=run.stage_revision(shard.stage),
        facts=facts,
    )
