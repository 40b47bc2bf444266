"""The command that exports a finished run in the formats that trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from shardmill.cli.base import FOLDER, cli


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--format", "format", metavar="FORMAT", help="one of the formats below; without it, list what the run has")
@click.option("--out", type=FOLDER, help="an empty or new folder (RUN/exports/FORMAT if not given)")
@click.option("--what", multiple=True, help="which of the run's tables, e.g. questions; hf takes several")
@click.option(
    "--images",
    type=click.Choice(["copy", "reference"]),
    help="copy the images, or only reference them (webdataset, hf: copy; others: reference)",
)
@click.option("--max-size", default="1GB", show_default=True, help="of one tar or Parquet file")
@click.option("--texts", type=click.IntRange(1), help="jsonl: texts per image, if the pipeline lets you choose")
@click.option(
    "--missing",
    type=click.Choice(["drop", "pad"]),
    default="drop",
    show_default=True,
    help="jsonl: leave out an image that lacks a text, or repeat another of its texts",
)
@click.option("--every-text", is_flag=True, help="webdataset: a sample for each text of an image, not only for the first")
@click.option("--form", type=click.Choice(["trl", "swift", "llava"]), default="trl", show_default=True, help="dpo: the trainer")
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
    """Write a finished run in the format of a trainer, with a record (export.json: counts, digests, what was left out).

    \b
    table        all columns as CSV (lists as JSON): any pipeline
    parquet      typed tables, with the images inside on demand: any pipeline
    hf           a folder with a card for datasets.load_dataset(FOLDER): any pipeline
    csv, tsv     open_clip: filepath and title, a line for each text
    jsonl        Holistic-CLIP: a fixed number of texts per image, and a header
    webdataset   tar shards with the images; an interrupted export resumes after the last finished tar
    llava        conversations            dpo   preference pairs            coco   boxes
    """
    from shardmill.export.formats import describe_tables, find_format
    from shardmill.export.make import export as make_export
    from shardmill.export.options import ExportOptions, size_of
    from shardmill.export.tables import export_tables
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.counts import count_noun
    from shardmill.util.errors import UserError
    from shardmill.util.progress import Progress, ProgressLine

    run = RunFolder(folder)
    if format is None:
        click.echo(describe_tables(export_tables(run)))
        return
    source_of = click.get_current_context().get_parameter_source
    for name in ("images", "max_size", "texts", "missing", "every_text", "form"):
        if source_of(name) is ParameterSource.COMMANDLINE and name not in find_format(format).options:
            raise UserError(f"--format {format} does not use --{name.replace('_', '-')}; see: shardmill export --help")
    line, total = ProgressLine("exporting"), run.plan.input.rows
    done = make_export(
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
        click.echo(f"{done.path / name}" + (f": {count_noun(file['rows'], 'row')}" if file["rows"] is not None else ""))
    for table, shards in done.record["shards"].items():
        if shards["missing"]:
            click.secho(
                f"warning: {table}: {count_noun(len(shards['missing']), 'unfinished shard')} left out", fg="yellow", err=True
            )
    for reason, count in done.record["left_out"].items():
        click.secho(f"left out: {count:,} ({reason}); see {done.left_out}", fg="yellow", err=True)
    if done.already:
        click.echo("nothing to do: it is exported already; remove the folder to export it again")
