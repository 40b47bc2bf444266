"""Run a pipeline over a few rows: for each stage the prompts as sent, the raw answers, and what became of the row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from shardmill.core.model_shard import pool_key
from shardmill.core.planning import NewRun
from shardmill.core.seeding import rng_of
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Model
from shardmill.models.registry import open_model
from shardmill.previews.small_run import start_small_run
from shardmill.previews.tracing import Exchange, TracingModel, origins_of
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.trace import ACCEPTED, REJECTED, StageOutcome, explain

SAMPLED_ROWS = 10_000
"""Rows are drawn from so many of the first ones: a preview of a large table is to start at once."""
LINE = "line"
"""The column with a row's line in its file, which is not the file that a preview reads."""

Exchanges = dict[int, list[Exchange]]
"""The exchanges about each row, by row_id."""


@dataclass(frozen=True)
class PreviewStep:
    """What one stage exchanged with its model about a row, and what became of the row there."""

    stage: str
    exchanges: list[Exchange]
    result: StageOutcome

    @property
    def rejected(self) -> bool:
        return self.result.outcome == REJECTED


@dataclass(frozen=True)
class PreviewedRow:
    """A row through all stages that it reached. `values` are its columns after the last of them, from its first line."""

    row_id: int
    steps: list[PreviewStep]
    values: dict[str, Any]

    @property
    def rejected(self) -> bool:
        return bool(self.steps) and self.steps[-1].rejected


@contextmanager
def preview_run(new: NewRun, rows: int) -> Iterator[tuple[RunFolder, list[PreviewedRow]]]:
    """Run all stages over `rows` rows, drawn by the run's seed from the first 10,000.

    Yields the run, in a temporary folder, and the rows. The run and its images are removed when the block ends.

    Raises:
        UserError: as a real run would.
    """
    rng = rng_of(new.seed, "preview")
    with tempfile.TemporaryDirectory(prefix="shardmill-preview-") as folder:
        run, row_ids = start_small_run(new, rows, Path(folder), lambda frame, rows: _draw_rows(frame, rows, rng))
        yield run, _trace_rows(run, run.stages, row_ids)


def preview_stage(stage: str, new: NewRun, rows: int) -> list[PreviewedRow]:
    """Run the pipeline up to `stage` over the first `rows` rows of an input; returns the rows that reached it.

    The last step of each is that of `stage`, which may bear its pipeline's name. Raises UserError as a real run would.
    """
    with tempfile.TemporaryDirectory(prefix="shardmill-preview-") as folder:
        run, row_ids = start_small_run(new, rows, Path(folder), pl.DataFrame.head)
        name = run.stage(stage.removeprefix(f"{run.plan.pipeline}.")).name
        traced = _trace_rows(run, [*_upstream(run, name), name], row_ids)
        return [row for row in traced if row.steps[-1].stage == name]


def _draw_rows(frame: pl.DataFrame, rows: int, rng: Random) -> pl.DataFrame:
    """Draw from the first rows; those drawn keep their order."""
    within = min(frame.height, SAMPLED_ROWS)
    return frame[sorted(rng.sample(range(within), min(rows, within)))]


def _upstream(run: RunFolder, stage: str) -> list[str]:
    """The stages that a stage reads from, first to last."""
    chain: list[str] = []
    above = run.stage(stage).after
    while above != INGEST:
        chain.insert(0, above)
        above = run.stage(above).after
    return chain


def _trace_rows(run: RunFolder, stages: Sequence[str], row_ids: Sequence[int]) -> list[PreviewedRow]:
    exchanges = dict(_run_stages(run, stages, set(row_ids)))
    return [_previewed_row(run, row_id, exchanges) for row_id in row_ids]


def _run_stages(run: RunFolder, stages: Sequence[str], row_ids: set[int]) -> Iterator[tuple[str, Exchanges]]:
    """Run stages; yields each with what it exchanged about each row. Only one model that fills a GPU is loaded at a time."""
    pool: dict[str, Model] = {}
    try:
        for stage in stages:
            planned = run.stage(stage)
            before, _ = run.read_part(planned.after, 0)
            tracer = _open_tracer(pool, planned.role, planned.model) if planned.role and before.height else None
            run_shard(run, stage, 0, models=pool)
            own = before.filter(pl.col("row_id").is_in(row_ids))
            yield stage, _exchanges_by_row(run, stage, own, tracer) if tracer and tracer.exchanges else {}
    finally:
        for name in list(pool):
            _release_gpu(pool, name)


def _exchanges_by_row(run: RunFolder, stage: str, rows: pl.DataFrame, tracer: TracingModel) -> Exchanges:
    origins: dict[int, dict[str, None]] = {}
    for row in rows.iter_rows(named=True):
        origins.setdefault(row["row_id"], {}).update(dict.fromkeys(origins_of(run, stage, row, tracer.exchanges)))
    return {
        row_id: [exchange for origin in own for exchange in tracer.exchanges.get(origin, [])] for row_id, own in origins.items()
    }


def _open_tracer(pool: dict[str, Model], role: str, spec: dict[str, Any]) -> TracingModel:
    """The model of a stage, from the pool if an earlier stage used it, without that stage's exchanges."""
    name = pool_key(role, spec)
    model = pool.get(name)
    if not isinstance(model, TracingModel):
        for other in list(pool):
            _release_gpu(pool, other)
        pool[name] = model = TracingModel(open_model(role, spec))
    model.exchanges = {}
    return model


def _release_gpu(pool: dict[str, Model], name: str) -> None:
    if getattr(pool[name], "fills_gpu", False):
        pool.pop(name).close()


def _previewed_row(run: RunFolder, row_id: int, exchanges: dict[str, Exchanges]) -> PreviewedRow:
    steps: list[PreviewStep] = []
    values: dict[str, Any] = {}
    for result in explain(run, row_id):
        if result.outcome in (ACCEPTED, REJECTED):
            result = replace(result, rows=[{name: row[name] for name in row if name != LINE} for row in result.rows])
            steps.append(PreviewStep(result.stage, exchanges.get(result.stage, {}).get(row_id, []), result))
        if result.outcome == ACCEPTED:
            values |= result.rows[0]
    return PreviewedRow(row_id, steps, values)
