"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.util.commands import FILE, FOLDER, print_note

if TYPE_CHECKING:
    from shardmill.core.planning import NewRun
    from shardmill.store.run_folder import RunFolder
    from shardmill.tables.ingest import ImportProgress


def _allow_code(ctx: click.Context, param: click.Parameter, references: tuple[str, ...]) -> None:
    if references:
        from shardmill.core.permissions import allow_named
        from shardmill.core.user_code import allow_code

        for reference in references:
            if not allow_named(reference):
                allow_code(reference)


def _use_lexicon(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from shardmill.language.own_lexicon import use_own_lexicon

        use_own_lexicon(path)


code_option = click.option(
    "--code",
    multiple=True,
    metavar="FILE.py:NAME|MODEL@COMMIT",
    expose_value=False,
    is_eager=True,
    callback=_allow_code,
    help="code of your own that the run uses, or a model whose own code it runs; only needed if another user, or a command on "
    "another machine, started the run",
)

run_argument = click.argument("folder", type=FOLDER, metavar="RUN")

set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="change an option of a stage, or its STAGE.model=NAME, STAGE.prompt=FILE, STAGE.attempts=N; may be repeated",
)

INPUT_SECTIONS = {
    "Models and options": ("--model", "--set", "--servers", "--code", "--lexicon", "--seed"),
    "Shards": ("--num-shards", "--rows-per-shard", "--format", "--target-rows", "--total", "--start-at"),
    "Reading the input": (
        "--caption-column", "--image-column", "--list-column", "--image-root", "--min-words", "--columns", "--header",
        "--separator", "--quoting", "--encoding",
    ),
}  # fmt: skip
"""The headings of `INPUT_OPTIONS` in the help."""

INPUT_OPTIONS = (
    set_option,
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="NAME",
        help="use this model in every stage of its role: a name in slurm/models, a model file, or FILE.py:CLASS; may be repeated",
    ),
    click.option(
        "--servers",
        type=FOLDER,
        help="use the servers that `shardmill serve` announced in this folder instead of loading models",
    ),
    click.option(
        "--lexicon",
        type=FILE,
        expose_value=False,
        callback=_use_lexicon,
        help="a CSV of objects of your own, added to the lexicon; a first row with the name * replaces it",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="seed of all random choices: the same seed gives the same data, for any number of shards",
    ),
    click.option("--num-shards", type=int, help="number of shards; aim for 10 to 30 minutes of work per shard"),
    click.option(
        "--rows-per-shard",
        type=int,
        help="rows per shard, instead of --num-shards (default: 10,000, or more where that would make over 10,000 shards)",
    ),
    click.option("--caption-column", help="column with the captions (default: guessed)"),
    click.option("--image-column", help="column with the image paths (default: guessed)"),
    click.option(
        "--list-column",
        "list_columns",
        multiple=True,
        help="column whose cells are lists, in JSON or Python syntax; may be repeated",
    ),
    click.option("--min-words", type=int, help="reject captions with fewer words"),
    click.option(
        "--total", type=int, help="draw this many distinct captions at random; the other rows are rejected as 'not drawn'"
    ),
    click.option("--image-root", type=FOLDER, help="folder that relative image paths start from (default: the input's folder)"),
    click.option("--encoding", help="encoding of the input if it is not UTF-8, e.g. latin-1"),
    click.option(
        "--quoting",
        type=click.Choice(["auto", "standard", "none"]),
        default="auto",
        show_default=True,
        help="how quotation marks in a CSV or TSV input are read; none: as plain text",
    ),
    click.option(
        "--separator",
        callback=lambda ctx, param, value: {"tab": "\t", "\\t": "\t"}.get(value, value),
        help="what separates the cells of a CSV input, e.g. ';' or tab (default: guessed)",
    ),
    click.option("--header/--no-header", default=None, help="whether a CSV input has a header line (default: guessed)"),
    click.option(
        "--columns",
        default="",
        callback=lambda ctx, param, value: tuple(name.strip() for name in value.split(",") if name.strip()),
        help="names of the columns of a CSV input, e.g. url,caption, instead of those in its header line",
    ),
    click.option(
        "--format",
        "part_format",
        type=click.Choice(["csv", "jsonl", "parquet"]),
        default="csv",
        show_default=True,
        help="file format of the run's shards",
    ),
    click.option(
        "--start-at",
        metavar="STAGE",
        help="leave out the stages before this one; the input has their columns, named so or as the original system names them",
    ),
    click.option("--target-rows", type=int, help="stop when this many rows are accepted; the same rows for any number of shards"),
)


def _shard_numbers(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[int]:
    from shardmill.util.number_ranges import parse_ranges

    try:
        return sorted({number for text in texts for number in parse_ranges(text)})
    except ValueError:
        raise click.BadParameter("give numbers from 0 on, such as 3, or 0-7, or 1,4-6") from None


shards_option = click.option(
    "--shard",
    "shards",
    multiple=True,
    callback=_shard_numbers,
    help="which shards, counted from 0: 3, or 0-7, or 1,4-6; may be repeated (default: all)",
)


def budget_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a run may cost."""
    limit = click.option(
        "--max-cost",
        type=click.FloatRange(min=0, min_open=True),
        metavar="AMOUNT",
        help="begin no row that would bring the cost of requests above this, over all launches of the run (inf: no limit); "
        "finished rows are kept, and the exit code is 5",
    )
    prices = click.option(
        "--prices",
        type=FILE,
        help="YAML with prices per million tokens, instead of those of model files; a line is "
        "MODEL: {prompt: 0.15, cached_prompt: 0.075, completion: 0.60}",
    )
    return limit(prices(command))


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to read an input and what to make of it."""
    for option in reversed(INPUT_OPTIONS):
        command = option(command)
    return command


def new_run(input: Path, pipeline: str, options: dict[str, Any]) -> NewRun:
    """The run that `input_options` ask for."""
    from shardmill.core.planning import NewRun

    return NewRun(input=input, pipeline=pipeline, **options)


def ingest_progress() -> Callable[[ImportProgress], None]:
    """Progress bars of the counting and the writing of an input's rows."""
    from shardmill.util.progress import Progress, ProgressLine

    bars = {"counting": ProgressLine("counting rows"), "writing": ProgressLine("ingest")}

    def show(progress: ImportProgress) -> None:
        bars[progress.doing](Progress(progress.rows, progress.total or progress.rows + 1, 0, 0))

    return show


def note_missing_images(run: RunFolder) -> None:
    """Say so if a stage needs images and the input has none: it would reject every row."""
    if "image" in run.plan.input.mapping.values():
        return
    for stage in run.plan.stages:
        if "image" in stage.reads and stage.options.get("unverified") != "keep":
            note = f"the input has no image column, so {stage.name} will reject every row; name the column with --image-column"
            if "unverified" in stage.options:
                note += f", or try the run without images: --set {stage.name}.unverified=keep"
            print_note(note)
            return
