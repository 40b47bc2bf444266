"""Commands that hand the data on: build (datasets), export (what trainers read), combine (one file of one stage)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from shardmill.cli.base import code_option, run_argument
from shardmill.util.commands import FILE, FOLDER, HAND_ON, command, print_next, print_warning
from shardmill.util.errors import UserError
from shardmill.util.globbing import matching_files
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


@command(HAND_ON)
@run_argument
@click.option("--out", type=FOLDER, help="where to write (default: RUN/datasets)")
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the names of the files say so")
@click.option(
    "--likeness",
    metavar="MODEL",
    help="where the datasets compare texts: compare them by this sentence-embedding model (a folder or a Hugging Face name)",
)
@code_option
def build(folder: Path, out: Path | None, allow_missing: bool, likeness: str | None) -> None:
    """Write the datasets of a finished run.

    They are questions, captions, preference pairs and the like. `shardmill launch` does this at its end, too.
    """
    from shardmill.launch.finish import build_datasets
    from shardmill.store.run_folder import RunFolder

    build_datasets(RunFolder(folder), out, allow_missing, likeness)
    print_next("export", folder)


@command(HAND_ON)
@run_argument
@click.option(
    "--format", "format", metavar="FORMAT", help="one of the formats above; without it, list what the run has to export"
)
@click.option("--out", type=FOLDER, help="a folder that holds nothing else (default: RUN/exports/FORMAT)")
@click.option("--what", multiple=True, metavar="TABLE", help="which of the run's tables, e.g. questions; for hf, may be repeated")
@click.option(
    "--images",
    type=click.Choice(["copy", "reference"]),
    help="copy the images, or only name their files (default: copy for hf and mds, else reference)",
)
@click.option("--max-size", default="1GB", show_default=True, help="webdataset, parquet, hf, mds: maximum size of a file")
@click.option("--texts", type=click.IntRange(1), help="jsonl: number of texts per image, where the pipeline lets one choose")
@click.option(
    "--missing",
    type=click.Choice(["drop", "pad"]),
    default="drop",
    show_default=True,
    help="jsonl: leave out an image that lacks a text, or repeat another of its texts",
)
@click.option("--every-text", is_flag=True, help="webdataset: one sample per text, rather than only the first text of an image")
@click.option(
    "--form", type=click.Choice(["trl", "swift", "llamafactory"]), default="trl", show_default=True, help="dpo: for which trainer"
)
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the folder's name and record say so")
@code_option
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
    """Write a run in a format that trainers read.

    \b
    table        all columns as CSV, with lists as JSON
    parquet      all columns, typed, with the images inside on demand
    hf           a folder with a dataset card, for datasets.load_dataset(FOLDER)
    csv, tsv     open_clip: filepath and title, one line per text
    jsonl        Holistic-CLIP: a fixed number of texts per image, and a header
    webdataset   tar shards with the images; resumes after the last finished tar
    llava        conversations, for LLaVA, LLaMA-Factory and ms-swift
    axolotl      conversations, for axolotl
    dpo          preference pairs
    dpo-parquet  preference pairs for TRL, with the images inside
    coco         bounding boxes
    coco-captions  captions, for pycocotools
    mds          shards with the images, for mosaicml-streaming
    label-studio, fiftyone
                 rows with images and boxes, to look at and tick

    The first three fit every pipeline; without --format, those that a pipeline has of its own are listed too.
    Beside the files, export.json records row counts, digests, and what was left out.
    """
    from shardmill.export.formats import describe_tables
    from shardmill.export.make import export as make_export
    from shardmill.export.options import ExportOptions, size_of
    from shardmill.export.tables import export_tables
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.progress import step_progress

    run = RunFolder(folder)
    if format is None:
        echo(describe_tables(run, export_tables(run)))
        print_next("export", folder, "--format", "parquet")
        return
    refuse_unused_options(run, format)
    check_rows(run)
    progress, rows = step_progress("exporting"), run.plan.input.rows
    done = make_export(
        run,
        format,
        out,
        what=what,
        images=images,
        options=ExportOptions("copy", max_size=size_of(max_size), **options),
        allow_missing=allow_missing,
        report=lambda count: progress(count, max(rows, count + 1)),
    )
    for name, file in done.record["files"].items():
        echo(f"{done.path / name}" + (f": {count_of(file['rows'], 'row')}" if file["rows"] is not None else ""))
    if "image_root" in done.record:
        echo(f"paths of images start from {done.path}: start the trainer there, or name it as its image folder")
    for table, shards in done.record["shards"].items():
        if shards["missing"]:
            print_warning(f"{table}: {count_of(len(shards['missing']), 'unfinished shard')} left out")
    for reason, count in done.record["left_out"].items():
        print_warning(f"{count_of(count, 'row')} left out ({reason}); see {done.left_out}")
    if done.already:
        echo(f"nothing to do: it is exported already; to export it again, remove {done.path}")


def refuse_unused_options(run: Any, format: str) -> None:
    """Raise UserError for an option on the command line that a format does not use."""
    from shardmill.export.formats import find_format

    made_as = find_format(format, run)
    source_of = click.get_current_context().get_parameter_source
    for name in ("images", "max_size", "texts", "missing", "every_text", "form"):
        if source_of(name) is ParameterSource.COMMANDLINE and name not in made_as.options:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"--format {format} does not use {option}; leave it out")


@command(HAND_ON)
@click.argument("folder", type=FOLDER, metavar="RUN", required=False)
@click.argument("stage", required=False)
@click.option(
    "--ranges",
    "ranges",
    type=FILE,
    multiple=True,
    help="instead of RUN and STAGE: CSV files named prefix_START_END.csv; may be repeated, or be a quoted glob pattern",
)
@click.option("--out", type=FILE, required=True, help="the .csv, .jsonl or .parquet file to write")
@click.option("--allow-missing", is_flag=True, help="write what is finished; the name of the file says so")
@code_option
def combine(folder: Path | None, stage: str | None, ranges: Sequence[Path], out: Path, allow_missing: bool) -> None:
    """Merge the shards of a stage into one file.

    They are checked against their manifests. A stage with missing, damaged or mixed shards is refused (exit code 2), with the
    command that fixes it.
    """
    from shardmill.store.combine import combine as combine_stage
    from shardmill.store.manifest import summary
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import INGEST, RunFolder
    from shardmill.tables.ranges import merge_ranges

    if ranges:
        merged = merge_ranges(matching_files(ranges), out, allow_gaps=allow_missing)
        for fault in merged.faults:
            print_warning(str(fault))
        echo(f"{merged.path}: {count_of(merged.rows, 'row')} of {count_of(len(merged.files), 'file')}")
        return
    if folder is None or stage is None:
        raise UserError("name RUN and STAGE, or other CSV files with --ranges")
    run = RunFolder(folder)
    result = combine_stage(run, stage, out, allow_missing=allow_missing)
    if result.missing:
        print_warning(f"{count_of(len(result.missing), 'unfinished shard')} left out")
    echo(f"{result.path}: {count_of(result.lines, 'line')}")
    echo(summary(result.rows_in, result.rows_out, result.reasons, result.lines))
    check_rows(run, [stage if stage == INGEST else run.stage(stage).name])
