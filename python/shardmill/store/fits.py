"""What a stage learns from many shards at once: the blocks of rows that it is fitted on, and the files of each fit.

The blocks are ranges of row_ids that depend on the input and the stage alone, never on the shards: a run gives the same rows for
any number of shards. `RUN/<stage>/fits/block-00000.parquet` holds what the stage learned from the first block, and
`block-00000.json` what it was made from. A fit stays until the stage is done again; rows that `retry` adds later do not change
it.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from shardmill.store.manifest import FileRecord
from shardmill.store.plan import Plan, StagePlan, cut
from shardmill.util.atomic import (
    create_if_absent,
    file_digest,
    link_if_absent,
    make_folder,
    set_aside,
    sweep_once,
    sync_file,
    temporary_name,
)
from shardmill.util.errors import UserError
from shardmill.util.untrusted import CorruptRecord, Count, Digest, read_model

if TYPE_CHECKING:
    import polars as pl

FOLDER = "fits"
LEASED_AS = 99
"""The number under which the shard that a block begins in is leased while the block is fitted; no shard has so many blocks."""


class FitManifest(BaseModel):
    """The record of a fit. Its presence means that the fit is complete.

    Attributes:
        rows: How many rows the stage was fitted on.
        inputs: The digests of the parts that they came from, by shard.
        fingerprint: That of the stage.
        revision: That of the planned stage.
        file: The table of what it learned.
        facts: What is worth knowing of the fit, in a few numbers.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    block: Count
    rows: Count
    inputs: dict[Count, Digest]
    fingerprint: dict[str, str]
    revision: Count = 1
    file: FileRecord
    facts: dict[str, float]

    def to_bytes(self) -> bytes:
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode("utf-8")


@dataclass(frozen=True)
class FitBlocks:
    """The blocks of a stage: their row_ids [start, end) in order, and the shards of the run."""

    bounds: Sequence[tuple[int, int]]
    shards: Sequence[tuple[int, int]]

    def of_shard(self, shard: int) -> range:
        """The blocks that hold rows of a shard.

        >>> FitBlocks([(0, 10), (10, 20)], [(0, 8), (8, 16), (16, 20)]).of_shard(1)
        range(0, 2)
        """
        return _overlapping(self.shards[shard], self._block_starts)

    def shards_of(self, block: int) -> range:
        """The shards that hold rows of a block."""
        return _overlapping(self.bounds[block], self._shard_starts)

    def needed_by(self, shard: int) -> range:
        """The shards that the stage before must have finished before this shard can be done.

        >>> FitBlocks([(0, 10), (10, 20)], [(0, 8), (8, 16), (16, 20)]).needed_by(2)
        range(1, 3)
        """
        blocks = self.of_shard(shard)
        return range(self.shards_of(blocks[0]).start, self.shards_of(blocks[-1]).stop)

    @cached_property
    def _block_starts(self) -> list[int]:
        return [start for start, _ in self.bounds]

    @cached_property
    def _shard_starts(self) -> list[int]:
        return [start for start, _ in self.shards]


def _overlapping(bounds: tuple[int, int], starts: Sequence[int]) -> range:
    """The indices of the ranges from each of `starts` to the next, in order and without gaps, that share a row with `bounds`."""
    first, last = bounds
    return range(max(bisect_right(starts, first) - 1, 0), bisect_left(starts, max(last, first + 1)))


def fit_blocks(plan: Plan, stage: StagePlan) -> FitBlocks | None:
    """The blocks of a stage of about `fit_rows` rows each; None for a stage that is not fitted."""
    if not stage.fit_rows:
        return None
    count = max(1, round(plan.input.rows / stage.fit_rows))
    return FitBlocks(cut(plan.input.rows, num_shards=count), plan.shards)


@dataclass(frozen=True)
class FitFiles:
    """The files of the fit of one block of a stage whose folder is `folder`."""

    folder: Path
    block: int

    @property
    def name(self) -> str:
        return f"block-{self.block:05d}"

    @property
    def table(self) -> Path:
        return self.folder / FOLDER / f"{self.name}.parquet"

    @property
    def manifest(self) -> Path:
        return self.folder / FOLDER / f"{self.name}.json"

    def read_manifest(self) -> FitManifest | None:
        """The record of the fit; None if there is none. Raises UserError when it is corrupt."""
        sweep_once(self.manifest.parent)
        try:
            return read_model(self.manifest, FitManifest)
        except FileNotFoundError:
            return None
        except CorruptRecord as error:
            raise UserError(f"{self.manifest} is corrupt ({error}); delete it and run the stage again") from None

    def read_table(self, record: FitManifest) -> pl.DataFrame:
        """What the stage learned. Raises UserError when the file is missing or corrupt."""
        if not self.table.exists() or file_digest(self.table) != record.file.sha256:
            stage, run = self.folder.name, self.folder.parent
            raise UserError(
                f"{self.table} does not match its manifest (missing or changed); run: shardmill run {run} {stage} --redo"
            )
        import polars as pl  # here, so that commands that only look at records start at once

        return pl.read_parquet(self.table)

    def publish(
        self,
        table: pl.DataFrame,
        *,
        rows: int,
        inputs: dict[int, str],
        fingerprint: dict[str, str],
        revision: int,
        facts: dict[str, float],
    ) -> FitManifest:
        """Publish a fit unless another worker was first; returns the record on disk."""
        make_folder(self.table.parent)
        staged = temporary_name(self.table)
        try:
            with staged.open("wb") as file:  # opened here: a thread of Polars would make it another user's in a shared run
                table.write_parquet(file)
            sync_file(staged)
            link_if_absent(staged, self.table)
        finally:
            staged.unlink(missing_ok=True)
        made = FileRecord(name=self.table.name, sha256=file_digest(self.table), bytes=self.table.stat().st_size)
        record = FitManifest(
            block=self.block, rows=rows, inputs=inputs, fingerprint=fingerprint, revision=revision, file=made, facts=facts
        )
        create_if_absent(self.manifest, record.to_bytes())
        found = self.read_manifest()
        assert found is not None, "it was created above, or by another worker"
        return found

    def archive(self, superseded: Path) -> None:
        """Move the fit to the archive; the manifest first, so that a table without one is never taken for a fit."""
        for path in (self.manifest, self.table):
            set_aside(path, superseded / FOLDER)
