"""The command group and the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from shardmill import __version__
from shardmill.util.errors import did_you_mean

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)


class Commands(click.Group):
    """A group that suggests the command that was meant, and lets every command on a run name the run's own code."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if any(param.metavar == "RUN" or param.name == "folder" for param in cmd.params):
            cmd.params.append(
                click.Option(
                    ["--code"],
                    multiple=True,
                    metavar="FILE.py:NAME",
                    expose_value=False,
                    is_eager=True,
                    callback=_allow_code,
                    help="code of your own that the run uses, where it is not remembered from the command that started it",
                )
            )
        super().add_command(cmd, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"there is no command {name!r}; {did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _allow_code(ctx: click.Context, param: click.Parameter, references: tuple[str, ...]) -> None:
    if references:
        from shardmill.core.user_code import allow_code

        for reference in references:
            allow_code(reference)


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
            "--model",
            "models",
            multiple=True,
            metavar="NAME",
            help="a model of slurm/models, or a file of your own, for every stage of its role: llama-3.1-8b; may be repeated",
        ),
        click.option(
            "--servers",
            type=FOLDER,
            help="ask servers that `shardmill serve` has announced in this folder instead of loading models",
        ),
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            help="all random choices come from it and the row: one seed, one dataset",
        ),
        click.option("--num-shards", type=int, help="cut into this many shards; aim at 10 to 30 minutes of work each"),
        click.option(
            "--rows-per-shard", type=int, help="or into shards of so many rows (10,000, but at most 10,000 shards, if not given)"
        ),
        click.option("--caption-column", help="the column with the captions (guessed if not given)"),
        click.option("--image-column", help="the column with the image paths (guessed if not given)"),
        click.option(
            "--list-column",
            "list_columns",
            multiple=True,
            help="a column whose cells are lists (JSON or Python); may be repeated",
        ),
        click.option("--min-words", type=int, help="leave out captions of fewer words"),
        click.option("--total", type=int, help="draw so many different captions, by the seed; the others are told as not drawn"),
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
    from shardmill.core.planning import NewRun

    return NewRun(input=input, pipeline=pipeline, **options)


def import_progress() -> Callable[[Any], None]:
    from shardmill.tables.ingest import ImportProgress
    from shardmill.util.progress import Progress, ProgressLine

    lines = {"counting": ProgressLine("counting rows"), "writing": ProgressLine("ingest")}

    def show(progress: ImportProgress) -> None:
        lines[progress.doing](Progress(progress.rows, progress.total or progress.rows + 1, 0, 0))

    return show


def note_images(run: Any) -> None:
    if "image" in run.plan.input.mapping.values():
        return
    for stage in run.plan.stages:
        if "image" in stage.reads and stage.options.get("unverified") != "keep":
            note = f"note: the input has no image column, so {stage.name} will reject every row. Name it with --image-column"
            if "unverified" in stage.options:
                note += f", or rehearse without images: --set {stage.name}.unverified=keep"
            click.echo(note, err=True)
            return
