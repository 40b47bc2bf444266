"""The trace of one row through all stages, from the files of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from shardmill.store.cells import decode
from shardmill.store.journal import read_records
from shardmill.store.layout import INGEST_REJECTS, REJECTS
from shardmill.store.run_folder import INGEST, RunFolder

ACCEPTED, REJECTED, IN_JOURNAL, WAITING, NOT_REACHED = "accepted", "rejected", "in the journal", "waiting", "not reached"


@dataclass(frozen=True)
class StageOutcome:
    """What became of a row in one stage.

    `outcome` is accepted, rejected, in the journal (finished, in a shard that is not), waiting or not reached. `rows` are the
    values that the stage added, a dict for each line of the row, or its rejects.
    """

    stage: str
    outcome: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def explain(run: RunFolder, row_id: int) -> list[StageOutcome]:
    """The outcomes of a row, in pipeline order. Raises UserError for a row_id that the input does not have."""
    shard = run.plan.shard_of(row_id)
    outcomes: dict[str, StageOutcome] = {}
    for stage in [INGEST, *run.stages]:
        source = run.after(stage)
        if source is not None and outcomes[source].outcome != ACCEPTED:
            outcomes[stage] = StageOutcome(stage, NOT_REACHED)
        else:
            outcomes[stage] = next(_find_outcomes(run, stage, shard, row_id), StageOutcome(stage, WAITING))
    return list(outcomes.values())


def _find_outcomes(run: RunFolder, stage: str, shard: int, row_id: int) -> Iterator[StageOutcome]:
    """What the files of the stage say of the row; the first one counts."""
    files = run.files(stage, shard)
    manifest = run.manifest(stage, shard)
    if manifest is not None:
        out = _rows(run.read_part(stage, shard)[0], row_id)
        if out:
            added = run.plan.input.columns if stage == INGEST else run.stage(stage).adds
            names = [name for name in added if name in manifest.columns]
            rows = [{name: decode(row[name], manifest.columns[name]) for name in names} for row in out]
            yield StageOutcome(stage, ACCEPTED, rows)
        kinds = INGEST_REJECTS if stage == INGEST else {"row_id": "int", **REJECTS}
        rejected = _rows(run.read_rejects(stage, shard, manifest, kinds), row_id)
        if rejected:
            yield StageOutcome(stage, REJECTED, rejected)
    elif stage != INGEST:
        for record in read_records(files.journals(), run.digests(stage)):
            if record.key[0] == row_id:
                yield StageOutcome(stage, IN_JOURNAL, record.rows or [record.reject or {}])


def _rows(frame: pl.DataFrame, row_id: int) -> list[dict[str, Any]]:
    return frame.filter(pl.col("row_id") == row_id).to_dicts()
