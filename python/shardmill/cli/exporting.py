"""The command that turns a finished run into what trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from shardmill.cli.base import FOLDER, cli

NAMES = ("csv", "tsv", "jsonl", "webdataset", "parquet", "hf", "llava", "dpo", "coco")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--format", "format", type=click.Choice(NAMES), help="what to write; see below. Without it: what the run has")
@click.option("--out", type=FOLDER, help="a folder of its own (RUN/exports/FORMAT if not given)")
@click.option("--what", multiple=True, help="which of the run's tables, e.g. questions; hf takes several")
@click.option(
    "--images",
    type=click.Choice(["copy", "reference"]),
    help="take the pictures along, or only name them (webdataset, hf: copy; others: reference)",
)
@click.option("--max-size", default="1GB", show_default=True, help="of one tar or Parquet file")
@click.option("--texts", type=click.IntRange(1), help="jsonl of negbench: texts for each picture (original + captions asked for)")
@click.option(
    "--missing",
    type=click.Choice(["drop", "pad"]),
    default="drop",
    show_default=True,
    help="jsonl: a picture that lacks a text is left out, or gets another of its texts twice",
)
@click.option("--every-text", is_flag=True, help="webdataset: a sample of each text of a picture, not of the first alone")
@click.option(
    "--form", type=click.Choice(["trl", "swift", "llava"]), default="trl", show_default=True, help="dpo: for which trainer"
)
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the folder's name and record say so")
def export(
    folder: Path,
    format: str | None,
    out: Path | None,
    what: tuple[str, ...],
    images: Any,
    allow_missing: bool,
    max_size: str,
    **options: Any,
) -> None:
    """Write a finished run as trainers read it, with a record (export.json: counts, digests, what was left out).

    \b
    csv, tsv     open_clip: filepath and title, a line for each text
    jsonl        Holistic-CLIP: always the same number of texts for a picture, and a header
    webdataset   tar shards with the pictures; interrupted, it goes on behind the last finished tar
    parquet      typed tables, with the pictures inside on demand
    hf           a folder with a card: datasets.load_dataset(FOLDER)
    llava        conversations            dpo   preference pairs            coco   boxes
    """
    from shardmill.export.make import export as make
    from shardmill.export.make import heeded
    from shardmill.export.offer import offers_of, told
    from shardmill.export.options import ExportOptions, size_of
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.errors import UserError
    from shardmill.util.progress import Progress, ProgressLine

    run = RunFolder(folder)
    if format is None:
        click.echo(told(offers_of(run)))
        return
    asked = click.get_current_context().get_parameter_source
    for name in ("images", "max_size", "texts", "missing", "every_text", "form"):
        if asked(name) is ParameterSource.COMMANDLINE and name not in heeded(format):
            raise UserError(f"{format} has no --{name.replace('_', '-')}; see: shardmill export --help")
    line, total = ProgressLine("exporting"), run.plan.input.rows
    done = make(
        run,
        format,
        out,
        what=what,
        images=images,
        options=ExportOptions("copy", max_size=size_of(max_size), **options),
        allow_missing=allow_missing,
        report=lambda rows: line(Progress(rows, max(total, rows + 1), 0, 0)),
    )
    for name, file in done.record["files"].items():
        click.echo(f"{done.path / name}" + (f": {file['rows']:,} rows" if file["rows"] is not None else ""))
    for table, shards in done.record["shards"].items():
        if shards["missing"]:
            click.secho(f"warning: {table}: {len(shards['missing'])} shards are missing", fg="yellow", err=True)
    for reason, count in done.record["left_out"].items():
        click.secho(f"left out: {count:,} ({reason}); see {done.left_out}", fg="yellow", err=True)
    if done.already:
        click.echo("nothing to do: it was exported before; remove the folder to do it again")
