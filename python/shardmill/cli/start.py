"""Commands that start a run: launch, shard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from shardmill.cli.base import (
    INPUT_SECTIONS,
    budget_options,
    code_option,
    ingest_progress,
    input_options,
    new_run,
    note_missing_images,
)
from shardmill.cli.launcher import launch_here, launch_on_cluster
from shardmill.util.commands import FILE, FOLDER, START, command, command_line, print_next, print_note
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

if TYPE_CHECKING:
    from shardmill.store.plan import Plan
    from shardmill.store.run_folder import RunFolder

accept_code_option = click.option(
    "--accept-code-change",
    is_flag=True,
    help="continue although code or bundled prompts changed since the run was planned; finished shards are kept",
)


LAUNCH_SECTIONS = {
    "Run": ("--input", "--run", "--redo", "--accept-code-change", "--build", "--max-cost", "--prices"),
    "Where it runs": ("--workers", "--site", "--max-parallel", "--shards-per-node", "--phases", "--dry-run"),
    **INPUT_SECTIONS,
}


@command(START, options=LAUNCH_SECTIONS)
@click.argument("pipeline")
@click.option("--input", "input", type=FILE, help="the table to start from; not needed to resume a run")
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder; a run that exists is resumed")
@click.option(
    "--site", default="local", show_default=True, help="local: on this machine; else a site file, or its name in slurm/sites/"
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="worker processes on this machine")
@click.option("--max-parallel", type=click.IntRange(1), help="on a cluster: at most this many nodes at a time, over all stages")
@click.option(
    "--shards-per-node",
    type=click.IntRange(1),
    help="on a cluster: shards per array element (default: as many as a node has workers)",
)
@click.option(
    "--phases/--no-phases",
    default=None,
    help="on a cluster: stages that share a model share their jobs, or each stage has jobs of its own (default: --phases, or as "
    "in the launch before)",
)
@click.option("--dry-run", is_flag=True, help="on a cluster: print the plan and the job scripts, submit nothing")
@click.option("--redo", metavar="STAGE", help="first archive what this stage and all after it made, then make it again")
@accept_code_option
@click.option("--build/--no-build", default=True, help="build the datasets at the end", show_default=True)
@budget_options
@input_options
@code_option
@click.pass_context
def launch(
    ctx: click.Context,
    /,
    pipeline: str,
    input: Path | None,
    folder: Path,
    site: str,
    workers: int,
    max_parallel: int | None,
    shards_per_node: int | None,
    phases: bool | None,
    dry_run: bool,
    redo: str | None,
    accept_code_change: bool,
    build: bool,
    max_cost: float | None,
    prices: Path | None,
    **options: Any,
) -> None:
    """Run a pipeline and build its datasets.

    All stages run over all unfinished shards.

    PIPELINE is the name of a pipeline or of a bundled pipeline file, a pipeline file of your own (my.yaml), or a Pipeline in
    your own code (file.py:OBJECT).

    To resume a run after a crash, a kill or a full disk, run the same command again. On a cluster it submits job arrays and
    returns; shards that are already in the queue are not submitted again.
    """
    from shardmill.core.plan_changes import redo as redo_stage
    from shardmill.store.spending import set_budget

    if site == "local" and (dry_run or max_parallel or shards_per_node or phases is not None):
        raise UserError(
            "--dry-run, --max-parallel, --shards-per-node and --no-phases are for a cluster; name its site file with --site"
        )
    if site != "local":
        apply_umask(site)
    if accept_code_change:
        accept_changes(resume(folder, pipeline))
    if input is not None:
        run = start(
            folder, pipeline, input, options, lambda plan: check_launch(folder, plan, site, workers, phases, max_cost, prices)
        )
    else:
        refuse_new_run_options(ctx, folder, options, redo)
        run = resume(folder, pipeline)
    if redo:
        run = redo_stage(run, redo, options["settings"] if input is None else ())
    if max_cost is not None or prices is not None:
        set_budget(run, max_cost, prices)
    if site == "local":
        ctx.exit(launch_here(run, workers, build))
    allow_site(run, site)
    launch_on_cluster(run, site, max_parallel, shards_per_node, dry_run, build, phases)


def allow_site(run: RunFolder, site: str) -> None:
    """Let later commands of this user, such as `retry`, use the site that the user names now."""
    from shardmill.core import permissions
    from shardmill.core.planning import code_of
    from shardmill.core.user_code import remember_code
    from shardmill.launch.site import load_site

    permissions.allow_site(load_site(site).reference)
    remember_code(run.path, code_of(run.plan))


def check_launch(
    folder: Path, plan: Plan, site: str, workers: int, phases: bool | None, max_cost: float | None, prices: Path | None
) -> None:
    """Raises UserError for what cannot be launched or paid for as planned."""
    from shardmill.store.run_folder import RunFolder
    from shardmill.store.spending import changed_budget, read_budget

    check_place(plan, site, workers, phases)
    if max_cost is not None or prices is not None:
        changed_budget(read_budget(RunFolder(folder)), plan, max_cost, prices)


def apply_umask(site: str) -> None:
    """Make the files of this command with the permissions that the site's jobs give theirs."""
    import os

    from shardmill.launch.site import load_site

    if (umask := load_site(site).umask) is not None:
        os.umask(int(umask, 8))


def check_place(plan: Plan, site: str, workers: int, phases: bool | None) -> None:
    """Raises UserError if this machine or the site has not what the plan needs: before there is a folder with a plan for it."""
    if site == "local":
        from shardmill.launch.local import gpu_shares

        gpu_shares(plan, workers)
    else:
        from shardmill.launch.cluster_plan import check_site, each_stage_alone
        from shardmill.launch.phases import phases_of
        from shardmill.launch.site import load_site

        cluster = load_site(site)
        check_site(cluster, plan)
        phases_of(plan.stages, cluster.resources, by_stage=each_stage_alone([], None if phases is None else not phases))


def start(
    folder: Path, pipeline: str, input: Path, options: dict[str, Any], check: Callable[[Plan], object] = lambda plan: None
) -> RunFolder:
    """Start a run of `input`; an existing run is checked to be the same, and its ingest is finished."""
    from shardmill.core.planning import start_run
    from shardmill.store.no_rows import check_rows
    from shardmill.store.plan import NAME, load_plan
    from shardmill.store.run_folder import INGEST

    before = load_plan(folder) if (folder / NAME).exists() else None
    run = start_run(folder, new_run(input, pipeline, options), ingest_progress(), check)
    if before is not None and before.revision < run.plan.revision:
        print_note(f"{folder} was planned differently before, and nothing was done yet: its plan is replaced")
    for note in run.plan.input.notes:
        print_note(f"{input}: {note}")
    note_missing_images(run)
    note_changed_texts(run)
    check_rows(run, [INGEST])
    return run


def resume(folder: Path, pipeline: str) -> RunFolder:
    """An existing run of `pipeline`. The name in its plan is enough, also for a pipeline in the user's own code."""
    from shardmill.core.pipeline_file import load_pipeline
    from shardmill.core.planning import code_of
    from shardmill.core.user_code import remember_code
    from shardmill.store.plan import NAME
    from shardmill.store.run_folder import RunFolder

    if not (folder / NAME).exists() and not folder.is_file():
        load_pipeline(pipeline)
        raise UserError(f"there is no run in {folder} to resume; to start one there, name its table with --input")
    run = RunFolder(folder)
    name = pipeline if pipeline == run.plan.pipeline else load_pipeline(pipeline).pipeline
    remember_code(folder, code_of(run.plan))
    if run.plan.pipeline != name:
        raise UserError(f"{run.path} is a run of the pipeline {run.plan.pipeline}, not {name}; use another run folder")
    note_changed_texts(run)
    return run


def note_changed_texts(run: RunFolder) -> None:
    """Say which prompts and other texts were changed since the run was planned: the run goes on with its own."""
    from shardmill.core.changed_texts import notes_on_texts

    for note in notes_on_texts(run):
        print_note(note)


def accept_changes(run: RunFolder) -> RunFolder:
    """Continue with the present code beside rows of earlier code, and say which stages changed."""
    from shardmill.core.plan_changes import accept_code_change

    run, stages = accept_code_change(run)
    if stages:
        print_note(f"the code of {', '.join(stages)} changed; finished shards are kept, and both digests are recorded")
    return run


def refuse_new_run_options(ctx: click.Context, folder: Path, options: dict[str, Any], redo: str | None) -> None:
    """Refuse options that shape a new run where there is no `--input` to make one of."""
    given = [name for name in options if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    misplaced = [name for name in given if not (redo and name == "settings")]
    if misplaced:
        typed = next(param.opts[0] for param in ctx.command.params if param.name == misplaced[0])
        raise UserError(f"{typed} belongs to a new run; {advice_for(misplaced[0], folder, options)}")


def advice_for(name: str, folder: Path, options: dict[str, Any]) -> str:
    """How to get what an option of a new run asks for, from a run that may exist already."""
    from shardmill.store.plan import NAME

    if (folder / NAME).exists() and name == "settings":
        settings = [word for setting in options["settings"] for word in ("--set", setting)]
        stage = options["settings"][0].partition(".")[0]
        return f"to change a stage of this run: {command_line('run', folder, stage, '--redo', *settings)}"
    if (folder / NAME).exists() and name == "models":
        change = ("run", folder, "STAGE", "--redo", "--set", f"STAGE.model={options['models'][0]}")
        return f"to give a stage of this run another model: {command_line(*change)}"
    return "name its table with --input, and a new folder with --run"


@command(START, options={"Run": ("--run", "--pipeline"), **INPUT_SECTIONS})
@click.argument("input", type=FILE)
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder to make")
@click.option("--pipeline", default="", help="as for `shardmill launch` (default: see `shardmill --help`)")
@input_options
@code_option
def shard(input: Path, folder: Path, pipeline: str, **options: Any) -> None:
    """Plan a run and cut its input into shards.

    No stage is run.

    INPUT is a table (CSV, TSV, JSON, JSON lines, Parquet), or a folder or tar file of images. `shardmill launch` does this too;
    do it on its own to estimate the run first, or to run its stages by hand.
    """
    from shardmill.store.manifest import summary, totals
    from shardmill.store.run_folder import INGEST

    run = start(folder, pipeline, input, options)
    sums = totals(manifest for index in range(run.num_shards) if (manifest := run.manifest(INGEST, index)))
    echo(f"{count_of(run.num_shards, 'shard')} in {folder / INGEST}")
    echo(summary(sums["rows_in"], sums["rows_out"], sums["reasons"]))
    print_next("launch", run.plan.pipeline, "--run", folder)
