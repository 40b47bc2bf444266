"""One row's life over all stages, from the files of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from shardmill.store.cells import decode
from shardmill.store.journal import read_records
from shardmill.store.layout import REJECTS
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.tables.ingest import INGEST_REJECTS


@dataclass(frozen=True)
class StageOutcome:
    """What became of a row in one stage: `fate` is out, rejected, in the journal, waiting or not reached."""

    stage: str
    fate: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def explain(run: RunFolder, row_id: int) -> list[StageOutcome]:
    """The chapters of a row in pipeline order. Raises UserError for a row_id outside of the input."""
    shard = run.plan.shard_of(row_id)
    chapters: dict[str, StageOutcome] = {}
    for stage in [INGEST, *run.stages]:
        source = run.after(stage)
        if source is not None and chapters[source].fate != "out":
            chapters[stage] = StageOutcome(stage, "not reached")
        else:
            chapters[stage] = next(_fates(run, stage, shard, row_id), StageOutcome(stage, "waiting"))
    return list(chapters.values())


def _fates(run: RunFolder, stage: str, shard: int, row_id: int) -> Iterator[StageOutcome]:
    """Every outcome of the row in the stage's files; the first one counts."""
    files = run.files(stage, shard)
    manifest = run.manifest(stage, shard)
    if manifest is not None:
        out = _rows(run.read_part(stage, shard)[0], row_id)
        if out:
            names = (
                list(run.plan.input.columns) if stage == INGEST else [n for n in manifest.columns if n in run.stage(stage).adds]
            )
            yield StageOutcome(stage, "out", [{name: decode(row[name], manifest.columns[name]) for name in names} for row in out])
        kinds = INGEST_REJECTS if stage == INGEST else {"row_id": "int", **REJECTS}
        rejected = _rows(run.read_rejects(stage, shard, manifest, kinds), row_id)
        if rejected:
            yield StageOutcome(stage, "rejected", rejected)
    elif stage != INGEST:
        for record in read_records(files.journals(), run.digests(stage)):
            if record.key[0] == row_id:
                yield StageOutcome(stage, "in the journal", record.rows or [record.reject or {}])


def _rows(frame: pl.DataFrame, row_id: int) -> list[dict[str, Any]]:
    return frame.filter(pl.col("row_id") == row_id).to_dicts()
