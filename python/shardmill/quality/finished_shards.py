"""The finished shards of a run, and the rows of each stage in batches, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl

from shardmill.store.cells import Kind, Kinds
from shardmill.store.frames import scan_frame
from shardmill.store.layout import INGEST_REJECTS, REJECTS
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, shards_for
from shardmill.store.verify import complete_manifests
from shardmill.util.errors import UserError

BATCH = 50_000
"""Rows that are in memory at once."""


class FinishedShards:
    """The finished shards of a run; those of a stage are read as one table.

    Attributes:
        needed: How many shards, from shard 0 on, the run is to finish; fewer than there are if it has a target of rows.
        stages: Ingest and all stages, in the order of the plan.
        manifests: The manifests of the finished shards, by stage and shard.
        damaged: The paths of parts that are missing or have another size than their manifest says.

    Raises:
        UserError: A shard is of another origin than planned.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        complete = complete_manifests(run)

        def rows_out(task: Task) -> int | None:
            return complete[task].rows_out if task in complete else None

        self.needed = shards_for(run.plan.target_rows, run.num_shards, run.leaves(), rows_out)
        self.stages = [INGEST, *run.stages]
        self.manifests: dict[str, dict[int, Manifest]] = {stage: {} for stage in self.stages}
        self.damaged: list[str] = []
        for (stage, shard), manifest in sorted(complete.items(), key=lambda item: item[0][1]):
            if shard >= self.needed:
                continue
            if self._has_files(stage, shard, manifest):
                self.manifests[stage][shard] = manifest
            else:
                self.damaged.append(str(run.files(stage, shard).part))

    def _has_files(self, stage: str, shard: int, manifest: Manifest) -> bool:
        """Whether the part and the rejects have the size that the manifest says. `shardmill build` checks digests, which takes
        long.
        """
        files = self.run.files(stage, shard)
        pairs = ((files.part, manifest.part), (files.rejects, manifest.rejects))
        return all(path.is_file() and path.stat().st_size == record.bytes for path, record in pairs)

    @property
    def missing(self) -> dict[str, list[int]]:
        """The shards that each stage has not finished, by stage; stages that are finished are left out."""
        found = {stage: [shard for shard in range(self.needed) if shard not in done] for stage, done in self.manifests.items()}
        return {stage: shards for stage, shards in found.items() if shards}

    def has(self, stage: str, *columns: str) -> bool:
        """Whether the stage has finished any shard and has these columns."""
        return bool(self.manifests.get(stage)) and set(columns) <= self.run.kinds(stage).keys()

    def last_with(self, *columns: str) -> str | None:
        """The last stage of the plan that has finished any shard and has these columns; None if there is none."""
        return next((stage for stage in reversed(self.stages) if self.has(stage, *columns)), None)

    def lines_out(self, stage: str) -> int:
        """The number of lines that a stage wrote."""
        return sum(manifest.lines_out for manifest in self.manifests.get(stage, {}).values())

    def batches(self, stage: str, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """The rows of a stage in batches, shard by shard.

        Args:
            stage: The stage.
            columns: What to read besides row_id and sub_id; columns that the stage does not have are left out. List and json
                cells are JSON text.

        Raises:
            UserError: If a part cannot be read.
        """
        for shard, manifest in self.manifests[stage].items():
            wanted = {name: kind for name, kind in manifest.columns.items() if name in {"row_id", "sub_id", *columns}}
            part = self.run.files(stage, shard).part
            yield from _frames(part, manifest.columns, wanted, self.run.plan.part_format)

    def rejects(self, stage: str) -> Iterator[pl.DataFrame]:
        """The rejects of a stage in batches: row_id, sub_id if its input has it, reason, detail, raw."""
        for shard, manifest in self.manifests[stage].items():
            if manifest.rejected:
                kinds: dict[str, Kind] = {"row_id": "int", **REJECTS}
                if stage == INGEST:
                    kinds = dict(INGEST_REJECTS)
                elif "sub_id" in self.run.kinds(self.run.stage(stage).after):
                    kinds = {"row_id": "int", "sub_id": "int", **REJECTS}
                yield from _frames(self.run.files(stage, shard).rejects, kinds, kinds, "csv")

    def lines_of(self, stage: str, row_ids: Collection[int]) -> dict[int, list[dict[str, object]]]:
        """All lines of these rows in a stage, by row_id. List and json cells are JSON text."""
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
        raise UserError(f"{path} cannot be read ({first}); find the damaged files with: shardmill build RUN") from error


def shards_in_words(shards: Sequence[int], limit: int = 8) -> str:
    """The first shards of a list.

    >>> shards_in_words([3, 5, 9], limit=2)
    '3, 5 and 1 more'
    """
    first = ", ".join(map(str, shards[:limit]))
    return first if len(shards) <= limit else f"{first} and {len(shards) - limit} more"
