"""What a stage would do with the first rows of an input. Nothing outlives the call."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.model_shard import pool_key
from shardmill.core.planning import NewRun
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Model
from shardmill.models.registry import open_model
from shardmill.preview.chosen_rows import start_over
from shardmill.preview.tracing import Exchange, TracingModel, origins
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import StageOutcome, explain


@dataclass
class PreviewedRow:
    """A row, what was asked about it, and what became of it in the stage."""

    row_id: int
    before: dict[str, Any]
    exchanges: list[Exchange] = field(default_factory=list)
    verdict: StageOutcome | None = None


def preview(stage: str, new: NewRun, rows: int) -> list[PreviewedRow]:
    """Run the pipeline up to `stage` over the first `rows` rows of an input, in a temporary folder, and show that stage.

    `stage` may bear its pipeline's name. Raises UserError as a real run would.
    """
    short = stage.removeprefix(f"{new.pipeline_file.pipeline}.")
    with tempfile.TemporaryDirectory(prefix="shardmill-preview-") as folder:
        run, _ = start_over(new, rows, Path(folder), pl.DataFrame.head)
        for above in _upstream(run, short):
            run_shard(run, above, 0)
        return _watch(run, short)


def _upstream(run: RunFolder, stage: str) -> list[str]:
    chain: list[str] = []
    above = run.stage(stage).after
    while above != "ingest":
        chain.insert(0, above)
        above = run.stage(above).after
    return chain


def _watch(run: RunFolder, stage: str) -> list[PreviewedRow]:
    planned = run.stage(stage)
    role = planned.role
    pool: dict[str, Model] = {}
    tracer = TracingModel(open_model(role, planned.model)) if role else None
    if role and tracer:
        pool[pool_key(role, planned.model)] = tracer
    before, _ = run.read_part(planned.after, 0)
    run_shard(run, stage, 0, models=pool)
    shown: dict[int, PreviewedRow] = {}
    for row in before.iter_rows(named=True):
        row_id = row["row_id"]
        if row_id not in shown:
            verdict = next(chapter for chapter in explain(run, row_id) if chapter.stage == stage)
            shown[row_id] = PreviewedRow(row_id, row, verdict=verdict)
        for origin in origins(run, stage, row, tracer.exchanges) if tracer else ():
            shown[row_id].exchanges += tracer.exchanges.get(origin, []) if tracer else []
    return list(shown.values())
