"""The `shardmill` command: thin, what it does are functions elsewhere. Imports stand in the commands, so that help is quick."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from shardmill import __version__
from shardmill.errors import UserError, did_you_mean

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)
SITES = ("local",)


class Commands(click.Group):
    """A group that suggests the command that was meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"there is no command {name!r}; {did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shardmill")
def cli() -> None:
    """Mill image-caption tables into vision-language training data, shard by shard, and lose no row.

    \b
    A whole run on this machine:   shardmill launch negbench --input captions.csv --run data/runs/first
    How far it is:                 shardmill status data/runs/first
    What happened to row 42:       shardmill explain data/runs/first 42

    A run is a folder. Each stage reads shard i of the stage before it and writes shard i of its own: a part, its rejects, and a
    manifest that says the shard is complete. Every command may be run again: what is finished is never done twice.
    """


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to read an input and what to make of it."""
    options = [
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="STAGE.OPTION=VALUE",
            help="change an option, e.g. create_mcq.style=original; may be repeated",
        ),
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            help="all random choices come from it and the row: one seed, one dataset",
        ),
        click.option("--num-shards", type=int, help="cut into this many shards; aim at 10 to 30 minutes of work each"),
        click.option("--rows-per-shard", type=int, help="or cut into shards of this many rows (10,000 if neither is given)"),
        click.option("--caption-column", help="the column with the captions (guessed if not given)"),
        click.option("--image-column", help="the column with the image paths (guessed if not given)"),
        click.option("--image-root", type=FOLDER, help="where relative image paths start (the folder of the input if not given)"),
        click.option("--encoding", help="the input's encoding if it is not UTF-8, e.g. latin-1"),
        click.option(
            "--quoting",
            type=click.Choice(["auto", "standard", "none"]),
            default="auto",
            show_default=True,
            help="none: quotes in the input are plain text",
        ),
        click.option(
            "--format",
            "part_format",
            type=click.Choice(["csv", "jsonl", "parquet"]),
            default="csv",
            show_default=True,
            help="of the part files",
        ),
        click.option(
            "--target-rows", type=int, help="stop when this many rows are accepted; the same rows for any number of shards"
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def new_run(input: Path, pipeline: str, options: dict[str, Any]) -> Any:
    from shardmill.planning import NewRun

    return NewRun(input=input, pipeline=pipeline, **options)


@cli.command()
@click.argument("input", type=FILE)
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder to make")
@click.option(
    "--pipeline", default="negbench", show_default=True, help="a pipeline by name, or the path of a pipeline file of yours"
)
@input_options
def shard(input: Path, folder: Path, pipeline: str, **options: Any) -> None:
    """Cut INPUT (CSV, TSV, JSONL, JSON, Parquet) into the shards of a new run, and fix the run's plan."""
    from shardmill.planning import start_run
    from shardmill.shards.manifest import summary, totals
    from shardmill.shards.run_folder import INGEST

    run = start_run(folder, new_run(input, pipeline, options), import_progress())
    sums = totals(manifest for index in range(run.num_shards) if (manifest := run.manifest(INGEST, index)))
    click.echo(f"{run.num_shards} shards in {folder / INGEST}")
    click.echo(summary(sums["rows_in"], sums["rows_out"], sums["reasons"]))
    note_images(run)
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


def import_progress() -> Callable[[Any], None]:
    from shardmill.shards.ingest import ImportProgress
    from shardmill.standalone import ProgressLine
    from shardmill.worker import Progress

    lines = {"counting": ProgressLine("counting rows"), "writing": ProgressLine("ingest")}

    def show(progress: ImportProgress) -> None:
        lines[progress.doing](Progress(progress.rows, progress.total or progress.rows + 1, 0, 0))

    return show


def note_images(run: Any) -> None:
    checked = any(stage.options.get("unverified") == "reject" for stage in run.plan.stages)
    if checked and "image" not in run.plan.input.mapping.values():
        click.echo(
            "note: the input has no image column, so the image check will reject every row. Name it with --image-column, "
            "or rehearse without images: --set filter_objects.unverified=keep",
            err=True,
        )


@cli.command("run")
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stage")
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
def run_stage(folder: Path, stage: str, shards: Sequence[int], redo: bool, settings: Sequence[str]) -> None:
    """Run one STAGE on some shards in this process: what a job on the cluster does.

    The same as python -m shardmill.negbench.STAGE --run RUN --shard-index N. The stage `ingest` cuts the input again.
    """
    from shardmill.planning import redo as redo_stage
    from shardmill.shards.ingest import ingest
    from shardmill.shards.run_folder import INGEST, RunFolder
    from shardmill.standalone import StopFlag, run_and_tell
    from shardmill.worker import ModelPool

    run = RunFolder(folder)
    if stage != INGEST:
        run.stage(stage)
    for index in shards:
        run.files(stage, index)
    if settings and not redo:
        raise UserError("--set changes what is planned; add --redo")
    if redo:
        run = redo_stage(run, stage, settings, shards or None)
    if stage == INGEST:
        ingest(run, import_progress())
        click.echo(f"{run.num_shards} shards in {run.folder(INGEST)}")
        return
    models: ModelPool = {}
    stop = StopFlag()
    for index in shards or range(run.num_shards):
        run_and_tell(run, stage, index, models, stop)


@cli.command()
@click.argument("pipeline")
@click.option("--input", "input", type=FILE, help="the table to start from; not needed to go on with a run")
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder; an existing one is gone on with")
@click.option("--site", type=click.Choice(SITES), default="local", show_default=True, help="where: on this machine")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="worker processes on this machine")
@click.option("--redo", help="first set aside what this stage and all after it have made")
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
    redo: str | None,
    build: bool,
    **options: Any,
) -> None:
    """Run all stages of PIPELINE over all shards that are not finished, then build the datasets.

    Launching again is how to resume: after a crash, a kill, or a full disk, run the same command.
    """
    from shardmill.launch.local import launch_local
    from shardmill.launch.progress import closing_lines, final_table
    from shardmill.planning import redo as redo_stage
    from shardmill.planning import start_run
    from shardmill.shards.run_folder import RunFolder

    if input is not None:
        run = start_run(folder, new_run(input, pipeline, options), import_progress())
        note_images(run)
    else:
        given = [name for name in options if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE]
        if given and not (redo and given == ["settings"]):
            raise UserError(f"--{given[0].replace('_', '-')} belongs to a new run; name its table with --input")
        run = RunFolder(folder)
        check_pipeline(run, pipeline)
    if redo:
        run = redo_stage(run, redo, options["settings"] if input is None else ())
    result = launch_local(run, workers)
    from rich.console import Console

    Console().print(final_table(run))
    for line in closing_lines(run):
        click.echo(line)
    for failure in result.failed:
        click.secho(f"failed: {failure.stage} shard {failure.shard}: {failure.message} (log: {failure.log})", fg="red", err=True)
    if result.failed:
        click.echo(f"the rest is finished; mend the cause and run again: shardmill launch {pipeline} --run {folder}", err=True)
        ctx.exit(1)
    if build:
        build_datasets(run, None, False)
    click.echo(f"next: shardmill status {folder}; one row's life: shardmill explain {folder} ROW_ID")


def check_pipeline(run: Any, pipeline: str) -> None:
    from shardmill.pipeline import load_pipeline

    name = load_pipeline(pipeline).pipeline
    if run.plan.pipeline != name:
        raise UserError(f"{run.path} is a run of the pipeline {run.plan.pipeline}, not {name}; use another run folder")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--out", type=FOLDER, help="where to write (RUN/datasets if not given)")
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the file names say so")
def build(folder: Path, out: Path | None, allow_missing: bool) -> None:
    """Make the datasets of a finished run: for negbench NegCap, NegMCQ and NegFull with a card."""
    from shardmill.shards.run_folder import RunFolder

    build_datasets(RunFolder(folder), out, allow_missing)


def build_datasets(run: Any, out: Path | None, allow_missing: bool) -> None:
    from importlib import import_module

    result = import_module(f"shardmill.{run.plan.pipeline}.build").build(run, out, allow_missing=allow_missing)
    for path, rows in result.files.items():
        click.echo(f"{path}: {rows:,} rows" if rows is not None else f"{path}")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def status(folder: Path, as_json: bool) -> None:
    """How far a run is, from its files alone: stages, shards, rows, rates, rejections."""
    from rich.console import Console

    from shardmill.report.status import read_status, render_status
    from shardmill.shards.run_folder import RunFolder

    state = read_status(RunFolder(folder))
    if as_json:
        click.echo(json.dumps(state.to_dict(), indent=1))
    else:
        Console().print(render_status(state))


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN", required=False)
@click.argument("stage", required=False)
@click.option(
    "--ranges",
    "ranges",
    type=FILE,
    multiple=True,
    help="instead of a run: CSVs named prefix_START_END.csv; may be repeated or a glob in quotes",
)
@click.option("--out", type=FILE, required=True, help="a .csv, .jsonl or .parquet file")
@click.option("--allow-missing", is_flag=True, help="write what there is, under a name that says so")
def combine(folder: Path | None, stage: str | None, ranges: Sequence[Path], out: Path, allow_missing: bool) -> None:
    """Concatenate all parts of STAGE, verified against their manifests, into one file.

    Refuses (exit code 2) a stage with missing, damaged or mixed shards, naming them and the command that mends them.
    """
    from shardmill.shards.combine import combine as combine_stage
    from shardmill.shards.manifest import summary
    from shardmill.shards.ranges import merge_ranges
    from shardmill.shards.run_folder import RunFolder

    if ranges:
        merged = merge_ranges(matching(ranges), out, allow_gaps=allow_missing)
        for fault in merged.faults:
            click.secho(f"warning: {fault}", fg="yellow", err=True)
        click.echo(f"{merged.path}: {merged.rows:,} rows of {len(merged.files)} files")
        return
    if folder is None or stage is None:
        raise UserError("name RUN and STAGE, or foreign files with --ranges")
    result = combine_stage(RunFolder(folder), stage, out, allow_missing=allow_missing)
    if result.missing:
        click.secho(f"warning: {len(result.missing)} shards are missing", fg="yellow", err=True)
    click.echo(f"{result.path}: {result.lines:,} lines")
    click.echo(summary(result.rows_in, result.rows_out, result.reasons, result.lines))


def matching(patterns: Sequence[Path]) -> list[Path]:
    """The files that paths or glob patterns name."""
    from glob import glob

    found: list[Path] = []
    for pattern in patterns:
        paths = [pattern] if pattern.exists() else [Path(path) for path in sorted(glob(str(pattern)))]
        if not paths:
            raise UserError(f"no file matches {pattern}")
        found += paths
    return found


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("row_id", type=int)
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def explain(folder: Path, row_id: int, as_json: bool) -> None:
    """One row's life over all stages: what each added to it, or why it was rejected."""
    from shardmill.shards.explain import explain as chapters_of
    from shardmill.shards.run_folder import RunFolder

    chapters = chapters_of(RunFolder(folder), row_id)
    if as_json:
        click.echo(json.dumps([vars(chapter) for chapter in chapters], indent=1, ensure_ascii=False))
        return
    for chapter in chapters:
        click.secho(f"{chapter.stage}: {chapter.fate}", bold=True, fg={"out": "green", "rejected": "red"}.get(chapter.fate))
        for row in chapter.rows:
            for name, value in row.items():
                click.echo(f"    {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stage")
@click.option("--rejects", is_flag=True, required=True, help="ask the rejected rows of finished shards again, with new seeds")
def retry(folder: Path, stage: str, rejects: bool) -> None:
    """Open finished shards of STAGE again for their rejected rows. Accepted rows are kept, here and in all later stages."""
    from shardmill.shards.reopen import reopen_rejected
    from shardmill.shards.run_folder import RunFolder

    run = RunFolder(folder)
    short = run.stage(stage).name
    if not run.stage(stage).model:
        raise UserError(f"{short} asks no model: it would reject the same rows again; change its options with --redo --set")
    opened = [
        reopen_rejected(run, short, index, manifest)
        for index in range(run.num_shards)
        if (manifest := run.manifest(short, index))
    ]
    click.echo(f"{sum(opened):,} rejected rows of {sum(1 for rows in opened if rows)} shards will be asked again")
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--num-shards", type=click.IntRange(1), help="the new number of shards")
@click.option("--rows-per-shard", type=click.IntRange(1), help="or the new number of rows of a shard")
def replan(folder: Path, num_shards: int | None, rows_per_shard: int | None) -> None:
    """Change the number of shards of a run. Finished rows are kept, by row_id. Nothing may be running on it meanwhile."""
    from shardmill.shards.replan import replan as change
    from shardmill.shards.run_folder import RunFolder

    if (num_shards is None) == (rows_per_shard is None):
        raise UserError("give --num-shards or --rows-per-shard")
    before = RunFolder(folder)
    run = change(before, num_shards=num_shards, rows_per_shard=rows_per_shard)
    click.echo(f"{before.num_shards} shards became {run.num_shards}; the old files are in {before.superseded}")
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


@cli.command()
@click.argument("input", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="the folder for captions.csv and images/")
@click.option("--rows", type=click.IntRange(1), default=1_000, show_default=True, help="how many captions, from the top")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--caption-column", help="the column with the captions (guessed if not given)")
def paint(input: Path, out: Path, rows: int, seed: int, caption_column: str | None) -> None:
    """Paint simple pictures for the captions of INPUT, to try a pipeline on them without photos and without a GPU."""
    from shardmill.rehearsal import paint_captions
    from shardmill.standalone import ProgressLine
    from shardmill.worker import Progress

    line = ProgressLine("painting")
    done = paint_captions(
        input, out, rows=rows, seed=seed, caption_column=caption_column, report=lambda count: line(Progress(count, rows, 0, 0))
    )
    click.echo(f"{done.table}: {done.painted:,} pictures, {done.unpaintable:,} captions without a known object")
    click.echo(f"next: shardmill launch negbench --input {done.table} --run data/runs/rehearsal")


@cli.command()
@click.argument("stage")
@click.option("--input", "input", type=FILE, required=True, help="a table of captions")
@click.option("--rows", type=int, default=5, show_default=True, help="how many rows, from the top")
@click.option("--pipeline", default="negbench", show_default=True)
@input_options
def preview(stage: str, input: Path, rows: int, pipeline: str, **options: Any) -> None:
    """Show what STAGE does with the first rows of a table: prompt as sent, raw answer, verdict. Writes nothing."""
    from shardmill.preview import preview as look

    for row in look(stage, new_run(input, pipeline, options), rows):
        click.secho(f"row {row.row_id}: {row.before.get('caption')}", bold=True)
        for exchange in row.exchanges:
            for message in exchange.sent:
                click.secho(f"  {message['role']}:", fg="blue")
                click.echo("    " + message["content"].replace("\n", "\n    "))
            click.secho("  answer:", fg="blue")
            click.echo("    " + exchange.raw.replace("\n", "\n    "))
        if row.verdict is not None:
            click.secho(f"  verdict: {row.verdict.fate}", fg={"out": "green", "rejected": "red"}.get(row.verdict.fate))
            for values in row.verdict.rows:
                click.echo("    " + json.dumps(values, ensure_ascii=False))


def main() -> None:
    """The entry point: what the user can mend is one line and exit code 2."""
    from shardmill.standalone import user_errors

    with user_errors():
        cli(prog_name="shardmill")
