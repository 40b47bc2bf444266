"""Commands that change a run: retry, run (and redo), rethreshold, replan, cancel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shardmill.cli.base import budget_options, code_option, ingest_progress, run_argument, shards_option
from shardmill.cli.launcher import launch_on_cluster
from shardmill.cli.start import accept_changes, accept_code_option
from shardmill.util.commands import CHANGE, command, command_line, print_next
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

if TYPE_CHECKING:
    from shardmill.store.jobs import JobsFolder
    from shardmill.store.run_folder import RunFolder


@command(CHANGE)
@run_argument
@click.argument("stage", required=False)
@click.option("--rejects", is_flag=True, help="try the rejected rows of STAGE again, with new seeds")
@click.option(
    "--launch/--no-launch", "again", default=True, show_default=True, help="launch at once, if the run was launched on a cluster"
)
@code_option
def retry(folder: Path, stage: str | None, rejects: bool, again: bool) -> None:
    """Try failed shards or rejected rows again.

    Fix the cause first. Failed shards get all their attempts back. With --rejects, finished shards of STAGE are opened again
    for their rejected rows; accepted rows are kept, in this and in all later stages.
    """
    from shardmill.core.permissions import is_permitted_site
    from shardmill.core.user_code import recall_code
    from shardmill.store.jobs import JobsFolder
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    jobs = JobsFolder(run)
    if rejects:
        reopen_rejects(run, stage)
    else:
        forget_failures(run, jobs, stage)
    submissions = jobs.submissions()
    recall_code(folder)
    if submissions and again and is_permitted_site(submissions[-1].site):
        launch_on_cluster(run, submissions[-1].site, submissions[-1].max_parallel, None, False, True)
    else:
        site = ("--site", submissions[-1].site) if submissions else ()
        print_next("launch", run.plan.pipeline, "--run", folder, *site)


def forget_failures(run: RunFolder, jobs: JobsFolder, stage: str | None) -> None:
    """Give quarantined shards their attempts back, and use nodes again that were avoided."""
    stages = [run.stage(stage).name] if stage else run.stages
    failed = {name: sorted(quarantined) for name in stages if (quarantined := jobs.quarantined(name))}
    for name in stages:
        jobs.forget_failures(name)
    jobs.clear_nodes({bad.node for bad in jobs.bad_nodes()})
    for name, shards in failed.items():
        echo(f"{name}: {count_of(len(shards), 'shard')} will be tried again: {shards[:8]}")
    if not failed:
        echo("no shard is quarantined")


def reopen_rejects(run: RunFolder, stage: str | None) -> None:
    """Open the finished shards of a stage for their rejected rows."""
    from shardmill.store.shard import reopen_rejected

    if stage is None:
        raise UserError("name the stage whose rejected rows are to be tried again: shardmill retry RUN STAGE --rejects")
    short = run.stage(stage).name
    if not run.stage(stage).model:
        change = command_line("run", run.path, short, "--redo", "--set", f"{short}.OPTION=VALUE")
        raise UserError(f"{short} has no model, so it would reject the same rows again; change its options with: {change}")
    opened = reopen_rejected(run, short)
    shards = count_of(sum(1 for rows in opened if rows), "shard")
    echo(f"{count_of(sum(opened), 'rejected row')} in {shards} will be tried again")


@command(CHANGE)
@run_argument
@click.argument("stages", nargs=-1, required=True, metavar="STAGE…")
@shards_option
@click.option(
    "--redo",
    is_flag=True,
    help="first archive what the first of these stages and all after it made, then run with the present code and prompts",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="with --redo: change an option of this stage or of a later one; may be repeated",
)
@accept_code_option
@budget_options
@code_option
def run(
    folder: Path,
    stages: Sequence[str],
    shards: Sequence[int],
    redo: bool,
    settings: Sequence[str],
    accept_code_change: bool,
    max_cost: float | None,
    prices: Path | None,
) -> None:
    """Run stages in this process, or redo them.

    A job on the cluster does the same. Stages that use the same model load it once. The stage `ingest` cuts the input into
    shards again. For a bundled pipeline, python -m shardmill.PIPELINE.STAGE --run RUN --shard-index N does the same.
    """
    from shardmill.core.plan_changes import redo as redo_stage
    from shardmill.core.shard_runner import ModelPool, check_fingerprint, open_stage
    from shardmill.core.stage_main import run_with_progress
    from shardmill.store.at_work import presence
    from shardmill.store.leases import this_process
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import INGEST, RunFolder
    from shardmill.store.spending import set_budget
    from shardmill.tables.ingest import ingest
    from shardmill.util.atomic import new_attempt
    from shardmill.util.exits import stop_signals

    opened = RunFolder(folder)
    check_names(opened, stages, shards)
    if settings and not redo:
        raise UserError("--set changes the plan; add --redo, which makes the stage again")
    if redo:
        check_first(opened, stages)
        for stage in stages if shards else ():  # before anything is archived: with some shards only, the plan stays
            if stage != INGEST:
                check_fingerprint(opened, open_stage(opened, stage))
        opened = redo_stage(opened, stages[0], settings, shards or None)
    if accept_code_change:
        opened = accept_changes(opened)
    if max_cost is not None or prices is not None:
        set_budget(opened, max_cost, prices)
    models: ModelPool = {}
    for stage in stages:
        if stage == INGEST:
            ingest(opened, ingest_progress())
            echo(f"{count_of(opened.num_shards, 'shard')} in {opened.folder(INGEST)}")
            check_rows(opened, [INGEST])
            continue
        with stop_signals() as stop, presence(opened, this_process(new_attempt())):
            for index in shards or range(opened.num_shards):
                run_with_progress(opened, stage, index, models, stop)
        check_rows(opened, [opened.stage(stage).name])
    print_next("status", folder)


def check_names(run: RunFolder, stages: Sequence[str], shards: Sequence[int]) -> None:
    """Raise UserError for a stage or shard that the run does not have."""
    from shardmill.store.run_folder import INGEST

    for stage in stages:
        if stage != INGEST:
            run.stage(stage)
        for index in shards:
            run.files(stage, index)


def check_first(run: RunFolder, stages: Sequence[str]) -> None:
    """Raise UserError unless all stages come after the first one, which is what a redo of it archives."""
    from shardmill.store.run_folder import INGEST

    first = stages[0]
    after = run.downstream(first if first == INGEST else run.stage(first).name)
    for stage in stages[1:]:
        if (stage if stage == INGEST else run.stage(stage).name) not in after:
            raise UserError(f"--redo archives {first} and the stages after it; {stage} is not one of them, so do it on its own")


@command(CHANGE)
@run_argument
@click.argument("stage")
@click.option(
    "--set", "settings", multiple=True, required=True, metavar="STAGE.OPTION=VALUE", help="a new threshold; may be repeated"
)
@code_option
def rethreshold(folder: Path, stage: str, settings: Sequence[str]) -> None:
    """Apply other thresholds to detections.

    STAGE is one that uses a detector. Scores and boxes were stored for every row, so this needs no GPU. What the stages after it
    made is archived; `shardmill launch` makes it again.
    """
    from shardmill.core.rethreshold import rethreshold as apply_thresholds
    from shardmill.store.run_folder import RunFolder

    run, result = apply_thresholds(RunFolder(folder), stage, settings)
    (out, rejected), (now_out, now_rejected) = result.before, result.after
    echo(f"{stage}: before {out:,} out + {rejected:,} rejected, now {now_out:,} out + {now_rejected:,} rejected")
    if result.again:
        shards = count_of(len(result.again), "shard")
        echo(f"the detector has yet to run on some rows of {shards}, which have no detections: {result.again[:8]}")
    print_next("launch", run.plan.pipeline, "--run", folder)


@command(CHANGE)
@run_argument
@click.option("--num-shards", type=click.IntRange(1), help="the new number of shards")
@click.option("--rows-per-shard", type=click.IntRange(1), help="or the new number of rows per shard")
@code_option
def replan(folder: Path, num_shards: int | None, rows_per_shard: int | None) -> None:
    """Change the number of shards of a run.

    Finished rows are kept. It is refused while a launch or a worker is at work on the run, and keeps others out meanwhile.
    """
    from shardmill.store.replan import replan as change
    from shardmill.store.run_folder import RunFolder

    if (num_shards is None) == (rows_per_shard is None):
        raise UserError("give either --num-shards or --rows-per-shard")
    before = RunFolder(folder)
    shards = count_of(before.num_shards, "shard")
    run = change(before, num_shards=num_shards, rows_per_shard=rows_per_shard)
    became = f"{shards} became {run.num_shards:,}"
    echo(f"{became}; the old files are in {before.superseded}")
    print_next("launch", run.plan.pipeline, "--run", folder)


@command(CHANGE)
@run_argument
@code_option
def cancel(folder: Path) -> None:
    """Cancel all jobs of a run on the cluster.

    Those that wait are cancelled too. What is finished is kept; launch again to resume.
    """
    from shardmill.launch import slurm
    from shardmill.store.jobs import JobsFolder
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    submissions = JobsFolder(run).submissions()
    ids = {array.job for each in submissions for array in each.arrays} | {each.finish for each in submissions if each.finish}
    live = sorted({job.partition("_")[0] for job, state in slurm.queue(ids).items() if state.live})
    slurm.cancel(live)
    # A launch that sees a job in the queue does not submit its shards, so wait until the cancelled ones are gone.
    while live and any(state.live for state in slurm.queue(ids).values()):
        time.sleep(1)
    echo(f"{count_of(len(live), 'job')} cancelled" if live else "no job of this run is in the queue")
    if submissions:
        again = command_line("launch", run.plan.pipeline, "--run", folder, "--site", submissions[-1].site)
        echo(f"to resume: {again}")
