"""Commands that have work done: run, launch, retry, cancel."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.cli.base import FILE, FOLDER, cli, import_progress, input_options, new_run, note_images
from shardmill.util.errors import UserError

if TYPE_CHECKING:
    from shardmill.store.run_folder import RunFolder


ACCEPT_HELP = "go on with code and bundled prompts that changed since the run was planned, and keep what is finished"


@cli.command("run")
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stages", nargs=-1, required=True, metavar="STAGE…")
@click.option("--shard", "shards", type=int, multiple=True, help="which shard, from 0; may be repeated (all shards if not given)")
@click.option(
    "--redo",
    is_flag=True,
    help="set aside what this stage and all after it have made, and make it again as code and templates are now",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="with --redo: change an option of this stage or a later one",
)
@click.option("--accept-code-change", is_flag=True, help=ACCEPT_HELP)
def run_stage(
    folder: Path, stages: Sequence[str], shards: Sequence[int], redo: bool, settings: Sequence[str], accept_code_change: bool
) -> None:
    """Run a STAGE, or several in their order, on some shards in this process: what a job on the cluster does.

    The same as python -m shardmill.negbench.STAGE --run RUN --shard-index N. Stages that use the same model load it once. The
    stage `ingest` cuts the input again.
    """
    from shardmill.core.planning import redo as redo_stage
    from shardmill.core.shard_runner import ModelPool
    from shardmill.core.stage_main import run_with_progress
    from shardmill.store.run_folder import INGEST, RunFolder
    from shardmill.tables.ingest import ingest
    from shardmill.util.signals import StopFlag

    run = RunFolder(folder)
    for stage in stages:
        if stage != INGEST:
            run.stage(stage)
        for index in shards:
            run.files(stage, index)
    if settings and not redo:
        raise UserError("--set changes what is planned; add --redo")
    if redo and len(stages) > 1:
        raise UserError("--redo takes one stage: it does that one and all after it again")
    if redo:
        run = redo_stage(run, stages[0], settings, shards or None)
    if accept_code_change:
        run = accept_changes(run)
    models: ModelPool = {}
    stop = StopFlag()
    for stage in stages:
        if stage == INGEST:
            ingest(run, import_progress())
            click.echo(f"{run.num_shards} shards in {run.folder(INGEST)}")
            continue
        for index in shards or range(run.num_shards):
            run_with_progress(run, stage, index, models, stop)


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stage")
@click.option(
    "--set", "settings", multiple=True, required=True, metavar="STAGE.OPTION=VALUE", help="a new threshold; may be repeated"
)
def rethreshold(folder: Path, stage: str, settings: Sequence[str]) -> None:
    """Decide anew, with other thresholds, on what a detector has seen: STAGE is filter_objects or another that asks one.

    Needs no GPU: scores and boxes are kept for every name of every row. The stages after it are set aside, to be done again by
    `shardmill launch`.
    """
    from shardmill.core.rethreshold import rethreshold as decide_anew
    from shardmill.store.run_folder import RunFolder

    run, result = decide_anew(RunFolder(folder), stage, settings)
    (out, rejected), (now_out, now_rejected) = result.before, result.after
    click.echo(f"{stage}: {out:,} out + {rejected:,} rejected became {now_out:,} out + {now_rejected:,} rejected")
    if result.again:
        click.echo(f"{len(result.again)} shards have rows without detections and go to the detector again: {result.again[:8]}")
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


@cli.command()
@click.argument("pipeline")
@click.option("--input", "input", type=FILE, help="the table to start from; not needed to go on with a run")
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder; an existing one is gone on with")
@click.option(
    "--site", default="local", show_default=True, help="local: on this machine; else a site file, or its name in slurm/sites/"
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="worker processes on this machine")
@click.option("--max-parallel", type=click.IntRange(1), help="on a cluster: never more nodes than this at once, over all stages")
@click.option(
    "--shards-per-node", type=click.IntRange(1), help="on a cluster: shards of one array element (as many as a node has workers)"
)
@click.option("--dry-run", is_flag=True, help="on a cluster: print the plan and the job scripts, submit nothing")
@click.option("--redo", help="first set aside what this stage and all after it have made")
@click.option("--accept-code-change", is_flag=True, help=ACCEPT_HELP)
@click.option("--build/--no-build", default=True, help="make the datasets at the end", show_default=True)
@input_options
@click.pass_context
def launch(
    ctx: click.Context,
    pipeline: str,
    input: Path | None,
    folder: Path,
    site: str,
    workers: int,
    max_parallel: int | None,
    shards_per_node: int | None,
    dry_run: bool,
    redo: str | None,
    accept_code_change: bool,
    build: bool,
    **options: Any,
) -> None:
    """Run all stages of PIPELINE over all shards that are not finished, then build the datasets.

    Launching again is how to resume: after a crash, a kill, or a full disk, run the same command. On a cluster it submits job
    arrays and returns; what is under way is never submitted twice.
    """
    from shardmill.core.planning import redo as redo_stage

    if site == "local" and (dry_run or max_parallel or shards_per_node):
        raise UserError("--dry-run, --max-parallel and --shards-per-node are for a cluster; name its site file with --site")
    if accept_code_change:
        from shardmill.core.pipeline_file import load_pipeline
        from shardmill.store.run_folder import RunFolder

        load_pipeline(pipeline)  # allows the code that it names
        accept_changes(RunFolder(folder))
    run = open_run(ctx, pipeline, input, folder, options, redo)
    if redo:
        run = redo_stage(run, redo, options["settings"] if input is None else ())
    if site == "local":
        ctx.exit(launch_here(run, workers, build))
    launch_there(run, site, max_parallel, shards_per_node, dry_run, build)


def accept_changes(run: RunFolder) -> RunFolder:
    """Go on with the code of today beside rows of earlier code, and say what changed."""
    from shardmill.core.planning import accept_code_change

    run, stages = accept_code_change(run)
    if stages:
        click.echo(f"the code of {', '.join(stages)} changed; what was finished is kept, both digests are recorded", err=True)
    return run


def open_run(
    ctx: click.Context, pipeline: str, input: Path | None, folder: Path, options: dict[str, Any], redo: str | None
) -> RunFolder:
    """The run to work on: a new one made from `input`, or the one that stands."""
    from shardmill.core.pipeline_file import load_pipeline
    from shardmill.core.planning import start_run
    from shardmill.core.user_code import allowed_code, remember_code
    from shardmill.store.run_folder import RunFolder

    if input is not None:
        run = start_run(folder, new_run(input, pipeline, options), import_progress())
        note_images(run)
        return run
    given = [name for name in options if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE]
    misplaced = [name for name in given if not (redo and name == "settings")]
    if misplaced:
        typed = next(param.opts[0] for param in ctx.command.params if param.name == misplaced[0])
        raise UserError(f"{typed} belongs to a new run; {advice_for(misplaced[0], folder, options)}")
    run = RunFolder(folder)
    name = load_pipeline(pipeline).pipeline
    remember_code(folder, allowed_code())
    if run.plan.pipeline != name:
        raise UserError(f"{run.path} is a run of the pipeline {run.plan.pipeline}, not {name}; use another run folder")
    return run


def advice_for(name: str, folder: Path, options: dict[str, Any]) -> str:
    """How to get what an option of a new run asks for, from a run that may stand already."""
    from shardmill.store.plan import NAME

    change = ["shardmill", "run", str(folder)]
    if (folder / NAME).exists() and name == "settings":
        settings = [word for setting in options["settings"] for word in ("--set", setting)]
        stage = options["settings"][0].partition(".")[0]
        return f"to change a stage of this one: {shlex.join([*change, stage, '--redo', *settings])}"
    if (folder / NAME).exists() and name == "models":
        model = f"STAGE.model={options['models'][0]}"
        return f"to give a stage of this one another model: {shlex.join([*change, 'STAGE', '--redo', '--set', model])}"
    return "name its table with --input, and a folder of its own with --run"


def launch_here(run: RunFolder, workers: int, build: bool) -> int:
    """Run everything on this machine; returns the exit code."""
    from rich.console import Console

    from shardmill.launch.finish import build_datasets
    from shardmill.launch.local import launch_local
    from shardmill.monitor.progress import LiveView
    from shardmill.monitor.run_summary import closing_lines, final_table

    result = launch_local(run, workers, view=LiveView(run))
    Console().print(final_table(run))
    for line in closing_lines(run):
        click.echo(line)
    for failure in result.failed:
        click.secho(f"failed: {failure.stage} shard {failure.shard}: {failure.message} (log: {failure.log})", fg="red", err=True)
    if result.failed:
        again = f"shardmill launch {run.plan.pipeline} --run {run.path}"
        click.echo(f"the rest is finished; mend the cause and run again: {again}", err=True)
        return 1
    if build:
        build_datasets(run)
    click.echo(f"next: is the data fit to train on? shardmill report {run.path}")
    click.echo(f"one row's life: shardmill explain {run.path} ROW_ID")
    return 0


def launch_there(
    run: RunFolder, site: str, max_parallel: int | None, shards_per_node: int | None, dry_run: bool, build: bool
) -> None:
    """Submit to a cluster what is not finished and not under way, or only print it."""
    from rich.console import Console

    from shardmill.launch.cluster_plan import plan_launch
    from shardmill.launch.launch_lock import one_launch_at_a_time
    from shardmill.launch.site import load_site
    from shardmill.launch.submit import submit
    from shardmill.monitor.launch_view import describe, scripts
    from shardmill.store.jobs import JobsFolder

    with one_launch_at_a_time(JobsFolder(run)):
        plan = plan_launch(run, load_site(site), max_parallel=max_parallel, group=shards_per_node)
        Console().print(describe(plan))
        if dry_run:
            for text in scripts(plan):
                click.echo(text)
            click.echo("nothing was submitted; leave out --dry-run to submit it")
            return
        if plan.arrays:
            submit(plan, click.echo, build=build)
    if plan.complete:
        click.echo(f"next: shardmill build {run.path} (if the last job has not done it)")
    else:
        click.echo(f"next: shardmill status {run.path} --watch")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stage", required=False)
@click.option("--rejects", is_flag=True, help="ask the rejected rows of finished shards of STAGE again, with new seeds")
@click.option(
    "--launch/--no-launch", "again", default=True, show_default=True, help="go on at once, on the cluster that it ran on"
)
def retry(folder: Path, stage: str | None, rejects: bool, again: bool) -> None:
    """Give failed shards their attempts back, when the cause is mended, and go on with them.

    With --rejects: open finished shards of STAGE again for their rejected rows. Accepted rows are kept, here and in all later
    stages.
    """
    from shardmill.store.jobs import JobsFolder
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    jobs = JobsFolder(run)
    if rejects:
        reopen_rejects(run, stage)
    else:
        stages = [run.stage(stage).name] if stage else run.stages
        failed = {name: sorted(aside) for name in stages if (aside := jobs.quarantined(name))}
        for name in stages:
            jobs.forget_failures(name)
        jobs.clear_nodes({bad.node for bad in jobs.bad_nodes()})
        for name, shards in failed.items():
            click.echo(f"{name}: {len(shards)} shards will be tried again: {shards[:8]}")
        if not failed:
            click.echo("no shard is quarantined")
    submissions = jobs.submissions()
    if submissions and again:
        launch_there(run, submissions[-1].site, submissions[-1].max_parallel, None, False, True)
    else:
        site = f" --site {submissions[-1].site}" if submissions else ""
        click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}{site}")


def reopen_rejects(run: RunFolder, stage: str | None) -> None:
    """Open the finished shards of a stage for their rejected rows."""
    from shardmill.store.shard import Shard

    if stage is None:
        raise UserError("name the stage whose rejected rows are to be asked again")
    short = run.stage(stage).name
    if not run.stage(stage).model:
        raise UserError(f"{short} asks no model: it would reject the same rows again; change its options with --redo --set")
    opened = [
        Shard(run, short, index).reopen_rejected(manifest)
        for index in range(run.num_shards)
        if (manifest := run.manifest(short, index))
    ]
    click.echo(f"{sum(opened):,} rejected rows of {sum(1 for rows in opened if rows)} shards will be asked again")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
def cancel(folder: Path) -> None:
    """Cancel all jobs of RUN on the cluster, running and waiting. What is finished stays; launch again to go on."""
    from shardmill.launch import slurm
    from shardmill.store.jobs import JobsFolder
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    submissions = JobsFolder(run).submissions()
    ids = {array.job for each in submissions for array in each.arrays} | {each.finish for each in submissions if each.finish}
    live = sorted({job.partition("_")[0] for job, state in slurm.queue(ids).items() if state.live})
    slurm.cancel(live)
    while live and any(state.live for state in slurm.queue(ids).values()):  # until then a launch would take them for under way
        time.sleep(1)
    click.echo(f"{len(live)} jobs cancelled" if live else "no job of this run is in the queue")
    if submissions:
        click.echo(f"to go on: shardmill launch {run.plan.pipeline} --run {folder} --site {submissions[-1].site}")
