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
from shardmill.core.fitting import columns_read, fits_of_shard, in_blocks
from shardmill.core.model_shard import ModelPool, ModelShard, Report
from shardmill.core.registry import make_stage
from shardmill.core.stage import Context, ModelStage, Stage, TableStage
from shardmill.core.user_code import recall_code
from shardmill.store.at_work import check_not_kept_out
from shardmill.store.current_plan import CurrentPlan
from shardmill.store.finish import ConservationError, finish_shard
from shardmill.store.leases import LeaseOwner, Leases, ShardBusy, this_process
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard, ShardReopened
from shardmill.store.verify import redo_command
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.atomic import make_folder, new_attempt
from shardmill.util.errors import FingerprintChanged, Stopped, UserError
from shardmill.util.progress import Progress
from shardmill.util.texts import use_texts

__all__ = ["ModelPool", "Progress", "check_fingerprint", "open_stage", "run_shard"]

TABLE_SLICE = 25_000
"""Rows that a table stage gets at a time: enough to be fast, few enough to fit."""


def check_fingerprint(run: RunFolder, stage: Stage) -> dict[str, str]:
    """The planned fingerprint of a stage, which must be what its code, template and model are now.

    Raises FingerprintChanged naming the file or the field that changed since the run was planned.
    """
    short = stage.name
    planned = run.stage(short)
    now = stage.fingerprint(planned.model)
    again = f"do the stage and all after it again: shardmill run {run.path} {short} --redo"
    if planned.fingerprint.get("code") != now["code"]:
        files = changed_files(planned.sources, stage.sources(planned.model))
        raise FingerprintChanged(
            f"the code of stage {short} was changed since {run.path} was planned: {', '.join(files[:4])}"
            f"{f' and {len(files) - 4} more files' if len(files) > 4 else ''}; restore it, or {again}, or keep what is finished "
            f"beside rows of the new code: shardmill run {run.path} {short} --accept-code-change"
        )
    for name in sorted(planned.fingerprint.keys() | now.keys()):
        before, after = planned.fingerprint.get(name), now.get(name)
        if before != after:
            raise FingerprintChanged(
                f"{name} of stage {short} changed since {run.path} was planned (from {_short(before)} to {_short(after)}); "
                f"restore it, or {again}"
            )
    return planned.fingerprint


def _short(value: str | None) -> str:
    return "nothing" if value is None else value if len(value) <= 70 else value[:12] + "…"


def open_stage(run: RunFolder, name: str) -> Stage:
    """The stage of a run with its planned options and texts. Raises UserError for an unknown stage, or code that is not named."""
    planned = run.stage(name)
    plan = run.plan
    use_texts(plan.texts)
    context = Context(plan.seed, Path(plan.input.image_root), run.path.resolve(), plan.pipeline)
    recall_code(run.path)
    stage = make_stage(planned.source or plan.pipeline, planned.name, planned.options, context, planned.prompt)
    stage.reads = tuple(name for name in stage.reads if name in planned.reads or name not in stage.optional)
    return stage


def run_shard(
    run: RunFolder,
    name: str,
    shard: int,
    *,
    models: ModelPool | None = None,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    owner: LeaseOwner | None = None,
    all_requested: Callable[[], None] = lambda: None,
) -> Manifest:
    """Bring one shard of one stage to its manifest, from wherever earlier attempts left it.

    Args:
        run: The run.
        name: The stage.
        shard: The number of the shard.
        models: Loaded models, kept from shard to shard.
        report: Called with the progress.
        should_stop: Asked now and then; when it turns true, the journal is written and Stopped is raised.
        owner: With it, blocks of rows are leased in this name before they are worked on, so that several workers share a shard.
        all_requested: Called when the model has been given all requests but retries, and could take requests of another shard.

    Returns:
        The manifest, which may be another worker's who was faster.

    Raises:
        UserError: For anything that the user can fix.
        PlanChanged: If another command redoes the stage or changes the run meanwhile; nothing of the earlier plan is published.
        ModelDied: If the model cannot go on.
        ShardBusy: If the rows that are left are leased by other workers.
        Stopped: If `should_stop` turned true; all finished rows are in the journal.
    """
    stage, here = open_stage(run, name), Shard(run, name, shard)
    make_folder(here.files.folder)
    check_fingerprint(run, stage)
    current = CurrentPlan(run, here.stage, shard)
    current.check()
    manifest = _finished(here)
    if manifest is not None:
        return manifest
    started, attempt = time.time(), new_attempt()
    table, current.above = here.read_input()
    for column in stage.reads:
        if table.schema.get(column) == pl.String:
            check_embedded(run.plan, table[column])

    def stop_early() -> bool:
        return should_stop() or current.has_changed()

    with ExitStack() as stack:
        own = stack.enter_context(Leases(here.files, replace(owner or this_process(), attempt=attempt)))
        leases = own if owner else None
        check_not_kept_out(run)
        made: dict[str, Any]
        try:
            if isinstance(stage, TableStage):
                made = _transform(here, stage, table, owner, leases, stop_early)
            else:
                assert isinstance(stage, ModelStage)
                work = ModelShard(here, stage, table, attempt, leases)
                current.journal = work.own_journal
                pool, note = models if models is not None else {}, report or (lambda progress: None)
                work.finish_rows(pool, note, stop_early, all_requested)
                made = {
                    "round": work.round,
                    "own_rows": work.own_rows,
                    "commits": work.commits,
                    "loading": round(work.loading, 3),
                }
        except (Stopped, ShardBusy) as end:
            if isinstance(end, ShardBusy):
                current.journal = None  # one without rows was removed
            current.check()
            raise
        return _publish(here, table, current, attempt, started, made)


def _transform(
    shard: Shard,
    stage: TableStage,
    table: pl.DataFrame,
    owner: LeaseOwner | None,
    leases: Leases | None,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """The rows of a table stage, and the fits that they were made with."""
    fits = fits_of_shard(shard, stage, owner, stop)
    if leases is not None and not leases.take(0):
        raise ShardBusy("another worker is working on it")
    transformed = [_transformed(stage, rows, stop) for rows in in_blocks(stage, table, fits)]
    return {"transformed": pl.concat(transformed), "fits": {fit.block: fit.digest for fit in fits}}


def _finished(shard: Shard) -> Manifest | None:
    """The manifest of a shard that needs no more work. One whose input part has got more rows since is reopened."""
    while (manifest := shard.complete_publication()) is not None:
        if not shard.run.accepts(shard.stage, manifest):
            again = redo_command(shard.run, shard.stage, [shard.index])
            raise UserError(f"{shard.files.part} was made with another fingerprint than planned; do it again: {again}")
        if not shard.is_stale(manifest):
            return manifest
        with suppress(ShardReopened):
            shard.reopen_stale(manifest)
    return None


def _publish(
    shard: Shard, table: pl.DataFrame, current: CurrentPlan, attempt: str, started: float, made: dict[str, Any]
) -> Manifest:
    assert current.above is not None, "the input was read"
    try:
        return finish_shard(shard, table, current.above, attempt, started=started, current=current, **made)
    except (ConservationError, FileNotFoundError) as error:
        # Another worker on this shard was faster and has removed this one's journal: then its manifest is there.
        manifest = shard.complete_publication()
        if manifest is not None:
            return manifest
        current.check()
        if isinstance(error, FileNotFoundError):
            raise current.redone() from error
        raise


def _transformed(stage: TableStage, table: pl.DataFrame, should_stop: Callable[[], bool]) -> pl.DataFrame:
    """What a table stage makes of a shard, a slice at a time. Raises Stopped between two slices."""
    columns = columns_read(stage, table)
    slices = []
    for piece in columns.iter_slices(TABLE_SLICE):
        if should_stop():
            raise Stopped("a stage without a model starts its shard again")
        slices.append(stage.transform(piece))
    return pl.concat(slices) if slices else stage.transform(columns)
