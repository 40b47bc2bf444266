"""What stands of a run: the finished shards of every stage, and their rows in batches, however large they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl

from shardmill.launch.tasks import Task, shards_for
from shardmill.store.cells import Kind, Kinds
from shardmill.store.frames import scan_frame
from shardmill.store.layout import REJECTS
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.tables.ingest import INGEST_REJECTS
from shardmill.util.errors import UserError

BATCH = 50_000
"""Rows that are held at once."""


class FinishedShards:
    """The finished shards of a run, of which each stage's are read as one table."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        complete = run.complete()

        def rows_out(task: Task) -> int | None:
            return complete[task].rows_out if task in complete else None

        self.needed = shards_for(run.plan.target_rows, run.num_shards, run.leaves(), rows_out)
        """Shards, from shard 0 on, that the run is to finish; fewer than there are where it has a target."""
        self.stages = [INGEST, *run.stages]
        self.manifests: dict[str, dict[int, Manifest]] = {stage: {} for stage in self.stages}
        self.damaged: list[str] = []
        for (stage, shard), manifest in sorted(complete.items(), key=lambda item: item[0][1]):
            if shard >= self.needed:
                continue
            if self._is_there(stage, shard, manifest):
                self.manifests[stage][shard] = manifest
            else:
                self.damaged.append(str(run.files(stage, shard).part))

    def _is_there(self, stage: str, shard: int, manifest: Manifest) -> bool:
        """The part and the rejects have the size that the manifest says. Digests are for `shardmill build`: they take long."""
        files = self.run.files(stage, shard)
        pairs = ((files.part, manifest.part), (files.rejects, manifest.rejects))
        return all(path.is_file() and path.stat().st_size == record.bytes for path, record in pairs)

    @property
    def missing(self) -> dict[str, list[int]]:
        """The shards that each stage has not finished, where there are any."""
        found = {stage: [shard for shard in range(self.needed) if shard not in done] for stage, done in self.manifests.items()}
        return {stage: shards for stage, shards in found.items() if shards}

    def has(self, stage: str, *columns: str) -> bool:
        """Whether the stage has finished anything, with these columns."""
        return bool(self.manifests.get(stage)) and set(columns) <= self.run.kinds(stage).keys()

    def last_with(self, *columns: str) -> str | None:
        """The last stage of the plan that has finished something with these columns."""
        return next((stage for stage in reversed(self.stages) if self.has(stage, *columns)), None)

    def first_with(self, *columns: str) -> str | None:
        """The first stage that has finished something with these columns."""
        return next((stage for stage in self.stages if self.has(stage, *columns)), None)

    def rows_out(self, stage: str) -> int:
        return sum(manifest.rows_out for manifest in self.manifests.get(stage, {}).values())

    def lines_out(self, stage: str) -> int:
        return sum(manifest.lines_out for manifest in self.manifests.get(stage, {}).values())

    def batches(self, stage: str, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """The rows of a stage, shard by shard in their order; those `columns` that it has, and row_id and sub_id."""
        for shard, manifest in self.manifests[stage].items():
            wanted = {name: kind for name, kind in manifest.columns.items() if name in {"row_id", "sub_id", *columns}}
            part = self.run.files(stage, shard).part
            yield from _frames(part, manifest.columns, wanted, self.run.plan.part_format)

    def rejects(self, stage: str) -> Iterator[pl.DataFrame]:
        """The rejects of a stage: row_id, maybe sub_id, reason, detail, raw."""
        for shard, manifest in self.manifests[stage].items():
            if manifest.rejected:
                kinds: dict[str, Kind] = {"row_id": "int", **REJECTS}
                if stage == INGEST:
                    kinds = dict(INGEST_REJECTS)
                elif "sub_id" in self.run.kinds(self.run.stage(stage).after):
                    kinds = {"row_id": "int", "sub_id": "int", **REJECTS}
                yield from _frames(self.run.files(stage, shard).rejects, kinds, kinds, "csv")

    def lines_of(self, stage: str, row_ids: Collection[int]) -> dict[int, list[dict[str, object]]]:
        """All lines of these rows in a stage, cells as they stand in memory (lists and json as text)."""
        by_shard: dict[int, list[int]] = {}
        for row_id in sorted(row_ids):
            by_shard.setdefault(self.run.plan.shard_of(row_id), []).append(row_id)
        found: dict[int, list[dict[str, object]]] = {}
        for shard, ids in by_shard.items():
            manifest = self.manifests[stage].get(shard)
            if manifest is not None:
                part = self.run.files(stage, shard).part
                for batch in _frames(part, manifest.columns, manifest.columns, self.run.plan.part_format):
                    for line in batch.filter(pl.col("row_id").is_in(ids)).iter_rows(named=True):
                        found.setdefault(line["row_id"], []).append(line)
        return found


def _frames(path: Path, kinds: Kinds, wanted: Kinds, format: str) -> Iterator[pl.DataFrame]:
    frame = scan_frame(path, kinds, format).select(list(wanted))
    try:
        yield from frame.collect_batches(chunk_size=BATCH, maintain_order=True)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read ({first}); find what is damaged with: shardmill build RUN") from error


def shards_in_words(shards: Sequence[int], most: int = 8) -> str:
    """`3, 5, 9 and 12 more`."""
    shown = ", ".join(map(str, shards[:most]))
    return shown if len(shards) <= most else f"{shown} and {len(shards) - most} more"
