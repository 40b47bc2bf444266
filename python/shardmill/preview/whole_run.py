"""What a pipeline would do with a few rows: each stage's prompts as sent, the raw answers, the verdicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
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
from shardmill.preview.chosen_rows import start_over
from shardmill.preview.tracing import Exchange, TracingModel, origins
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import StageOutcome, explain

DRAWN_FROM = 10_000
"""A preview of a large table is to start at once: rows are drawn from so many of its first."""

LINE = "line"
"""Where a row stands in its file, which is not the file that a preview reads."""


@dataclass(frozen=True)
class PreviewStep:
    """What one stage asked about a row, and what became of the row in it."""

    stage: str
    exchanges: list[Exchange]
    verdict: StageOutcome


@dataclass(frozen=True)
class PreviewedLife:
    """A row through all stages that it reached. `values` are its columns as they were last, of its first line."""

    row_id: int
    steps: list[PreviewStep]
    values: dict[str, Any]


@contextmanager
def preview_run(new: NewRun, rows: int) -> Iterator[tuple[RunFolder, list[PreviewedLife]]]:
    """All stages over `rows` rows, drawn by the run's seed from the first 10,000: the run, in a temporary folder, and the rows.

    The run and its pictures are gone when the block ends. Raises UserError as a real run would.
    """
    rng = rng_of(new.seed, "preview")
    with tempfile.TemporaryDirectory(prefix="shardmill-preview-") as folder:
        run, drawn = start_over(new, rows, Path(folder), lambda frame, rows: _draw(frame, rows, rng))
        exchanges = dict(_watch_all(run, set(drawn)))
        yield run, [_life(run, row_id, exchanges) for row_id in drawn]


def _draw(frame: pl.DataFrame, rows: int, rng: Random) -> pl.DataFrame:
    """Rows of the first ones, in their order."""
    within = min(frame.height, DRAWN_FROM)
    return frame[sorted(rng.sample(range(within), min(rows, within)))]


def _watch_all(run: RunFolder, drawn: set[int]) -> Iterator[tuple[str, dict[int, list[Exchange]]]]:
    """Run every stage; gives for each what it asked about each drawn row. One model that fills a GPU is held at a time."""
    pool: dict[str, Model] = {}
    try:
        for stage in run.stages:
            planned = run.stage(stage)
            role = planned.role
            before, _ = run.read_part(planned.after, 0)
            tracer = _traced(pool, role, planned.model) if role and before.height else None
            run_shard(run, stage, 0, models=pool)
            by_row: dict[int, list[Exchange]] = {}
            asked = tracer.exchanges if tracer else {}
            for row in before.filter(pl.col("row_id").is_in(drawn)).iter_rows(named=True) if asked else ():
                found = by_row.setdefault(row["row_id"], [])
                for origin in origins(run, stage, row, asked):
                    found += [exchange for exchange in asked.get(origin, []) if exchange not in found]
            yield stage, by_row
    finally:
        for name in list(pool):
            _release(pool, name)


def _traced(pool: dict[str, Model], role: str, spec: dict[str, Any]) -> TracingModel:
    """The model of a stage, which has forgotten what other stages asked it."""
    name = pool_key(role, spec)
    model = pool.get(name)
    if not isinstance(model, TracingModel):
        for other in list(pool):
            _release(pool, other)
        pool[name] = model = TracingModel(open_model(role, spec))
    model.exchanges = {}
    return model


def _release(pool: dict[str, Model], name: str) -> None:
    if pool[name].fills_gpu:
        pool.pop(name).close()


def _life(run: RunFolder, row_id: int, exchanges: dict[str, dict[int, list[Exchange]]]) -> PreviewedLife:
    steps: list[PreviewStep] = []
    values: dict[str, Any] = {}
    for chapter in explain(run, row_id):
        if chapter.fate in ("out", "rejected"):
            chapter = replace(chapter, rows=[{name: row[name] for name in row if name != LINE} for row in chapter.rows])
            steps.append(PreviewStep(chapter.stage, exchanges.get(chapter.stage, {}).get(row_id, []), chapter))
        if chapter.fate == "out":
            values |= chapter.rows[0]
    return PreviewedLife(row_id, steps, values)
