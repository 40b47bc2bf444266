"""The loop that runs one stage on one shard: read, resume, ask, retry, journal, count, publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.fingerprint import changed_files
from shardmill.core.model_shard import ModelPool, Report, ShardWork
from shardmill.core.registry import make_stage
from shardmill.core.stage import Context, ModelStage, Stage, TableStage
from shardmill.core.user_code import recall_code
from shardmill.store.atomic import make_folder, new_attempt
from shardmill.store.finish import ConservationError, finish_shard
from shardmill.store.leases import LeaseOwner, Leases, ShardBusy
from shardmill.store.manifest import Manifest
from shardmill.store.publish import complete_publication
from shardmill.store.reopen import ShardReopened, reopen_stale
from shardmill.store.run_folder import RunFolder
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.errors import UserError
from shardmill.util.progress import Progress

__all__ = ["ModelPool", "Progress", "check_fingerprint", "open_stage", "run_shard"]

TABLE_SLICE = 25_000
"""Rows that a table stage gets at a time: enough to be fast, few enough to fit."""


def check_fingerprint(run: RunFolder, stage: Stage) -> dict[str, str]:
    """The planned fingerprint of a stage, which must be what its code, template and model are now.

    Raises UserError naming the file or the field that changed since the run was planned.
    """
    short = stage.name
    planned = run.stage(short)
    now = stage.fingerprint(planned.model)
    again = f"do the stage and all after it again: shardmill run {run.path} {short} --redo"
    if planned.fingerprint.get("code") != now["code"]:
        files = changed_files(planned.sources, stage.sources(planned.model))
        raise UserError(
            f"the code of stage {short} was changed since {run.path} was planned: {', '.join(files[:4])}"
            f"{f' and {len(files) - 4} more files' if len(files) > 4 else ''}; restore it, or {again}, or keep what is finished "
            f"beside rows of the new code: shardmill run {run.path} {short} --accept-code-change"
        )
    for name in sorted(planned.fingerprint.keys() | now.keys()):
        before, after = planned.fingerprint.get(name), now.get(name)
        if before != after:
            raise UserError(
                f"{name} of stage {short} changed since {run.path} was planned (from {_short(before)} to {_short(after)}); "
                f"restore it, or {again}"
            )
    return planned.fingerprint


def _short(value: str | None) -> str:
    return "nothing" if value is None else value if len(value) <= 70 else value[:12] + "…"


def open_stage(run: RunFolder, name: str) -> Stage:
    """The stage of a run with its planned options. Raises UserError for an unknown stage, or one whose code is not named."""
    planned = run.stage(name)
    plan = run.plan
    context = Context(plan.seed, Path(plan.input.image_root), run.path.resolve())
    recall_code(run.path)
    return make_stage(planned.source or plan.pipeline, planned.name, planned.options, context, planned.prompt)


def run_shard(
    run: RunFolder,
    name: str,
    shard: int,
    *,
    models: ModelPool | None = None,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    holder: LeaseOwner | None = None,
    all_requested: Callable[[], None] = lambda: None,
) -> Manifest:
    """Bring one shard of one stage to its manifest, from wherever earlier attempts left it.

    `models` keeps loaded models from shard to shard. With a `holder`, rows are claimed in its name before they are worked on,
    so that several workers share a shard; Held is raised when the rows that are left are others'. `asked_all` is called when the
    model has been given all that it will be asked, but for retries, and could meanwhile take requests of another shard.

    Raises UserError for anything the user can mend, ModelDied, and Stopped when `should_stop` turned true; then all finished rows
    are in the journal.
    """
    stage = open_stage(run, name)
    short = run.stage(name).name
    files = run.files(short, shard)
    make_folder(files.folder)
    fingerprint = check_fingerprint(run, stage)
    while (manifest := complete_publication(files, run.superseded / short)) is not None:
        if not run.accepts(short, manifest):
            raise UserError(
                f"{files.part} was made with another fingerprint than planned; run: shardmill run {run.path} {short} --redo"
            )
        if not run.is_stale(short, shard, manifest):
            return manifest
        with suppress(ShardReopened):
            reopen_stale(run, short, shard, manifest)
    started = time.time()
    table, above = run.read_part(run.stage(short).after, shard)
    for name in stage.reads:
        if table.schema.get(name) == pl.String:
            check_embedded(run.plan, table[name])
    attempt = new_attempt()
    with ExitStack() as stack:
        claims = stack.enter_context(Leases(files, replace(holder, attempt=attempt))) if holder else None
        made: dict[str, Any]
        if isinstance(stage, TableStage):
            if claims is not None and not claims.take(0):
                raise ShardBusy("another worker is at it")
            columns = _decoded_columns(stage, table)
            slices = [stage.transform(piece) for piece in columns.iter_slices(TABLE_SLICE)]
            made = {"transformed": pl.concat(slices) if slices else stage.transform(columns)}
        else:
            assert isinstance(stage, ModelStage)
            work = ShardWork(run, stage, short, shard, table, attempt, fingerprint, claims)
            work.do(models if models is not None else {}, report or (lambda progress: None), should_stop, all_requested)
            made = {"round": work.round, "own_rows": work.own_rows}
        return _publish(run, short, shard, table, above, attempt, started, made)


def _publish(
    run: RunFolder,
    short: str,
    shard: int,
    table: pl.DataFrame,
    above: Manifest,
    attempt: str,
    started: float,
    made: dict[str, Any],
) -> Manifest:
    try:
        return finish_shard(run, short, shard, table, above, attempt, started=started, **made)
    except (ConservationError, FileNotFoundError):
        manifest = complete_publication(run.files(short, shard), run.superseded / short)
        if manifest is None:
            raise
        return manifest  # of another worker on this shard, which was faster and has tidied this one's files away


def _decoded_columns(stage: Stage, table: pl.DataFrame) -> pl.DataFrame:
    keys = [name for name in ("row_id", "sub_id") if name in table.columns]
    return table.select(*keys, *(name for name in stage.reads if name not in keys))
