"""Commands that look at data and change its shape: shard, build, combine, explain, replan, paint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from shardmill.cli.base import FILE, FOLDER, cli, import_progress, input_options, new_run, note_images
from shardmill.util.errors import UserError


@cli.command()
@click.argument("input", type=FILE)
@click.option("--run", "folder", type=FOLDER, required=True, help="the run folder to make")
@click.option("--pipeline", default="", help="a pipeline by name, or the path of a pipeline file of yours")
@input_options
def shard(input: Path, folder: Path, pipeline: str, **options: Any) -> None:
    """Cut INPUT (CSV, TSV, JSONL, JSON, Parquet) into the shards of a new run, and fix the run's plan."""
    from shardmill.core.planning import start_run
    from shardmill.store.manifest import summary, totals
    from shardmill.store.run_folder import INGEST

    run = start_run(folder, new_run(input, pipeline, options), import_progress())
    sums = totals(manifest for index in range(run.num_shards) if (manifest := run.manifest(INGEST, index)))
    click.echo(f"{run.num_shards} shards in {folder / INGEST}")
    click.echo(summary(sums["rows_in"], sums["rows_out"], sums["reasons"]))
    note_images(run)
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--out", type=FOLDER, help="where to write (RUN/datasets if not given)")
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the file names say so")
@click.option("--likeness", metavar="MODEL", help="antidote: compare questions by a sentence-embedding model (folder or hub id)")
def build(folder: Path, out: Path | None, allow_missing: bool, likeness: str | None) -> None:
    """Make the datasets of a finished run: NegCap, NegMCQ and NegFull of negbench, queries and pairs of antidote."""
    from shardmill.launch.finish import build_datasets
    from shardmill.store.run_folder import RunFolder

    build_datasets(RunFolder(folder), out, allow_missing, likeness)


@cli.command()
@click.argument("answers", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def cpbench(answers: Path, as_json: bool) -> None:
    """CP-Bench's score of ANSWERS, a JSONL file: `tag` (cpq, tpq) and `verdict` (accept, reject), or `answer` and `object`.

    0.6 x CPQs rejected + 0.2 x TPQs accepted + 0.2 x accuracy. Without a verdict an answer is judged by whether it declines.
    """
    from shardmill.antidote.cpbench import read_answers, score

    result = score(read_answers(answers))
    if not result.cpq + result.tpq:
        raise UserError(f"{answers} holds no answers")
    if as_json:
        click.echo(json.dumps({**vars(result), "accuracy": result.accuracy, "score": result.total}))
        return
    click.echo(f"CPQ rejected {result.cpq_rejected:,}/{result.cpq:,}, TPQ accepted {result.tpq_accepted:,}/{result.tpq:,}")
    click.echo(f"accuracy {result.accuracy:.1%}, score {100 * result.total:.1f}")


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
    from shardmill.store.combine import combine as combine_stage
    from shardmill.store.manifest import summary
    from shardmill.store.run_folder import RunFolder
    from shardmill.tables.ranges import merge_ranges

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
    """Trace one row through all stages: what each added to it, or why it was rejected."""
    from shardmill.store.run_folder import RunFolder
    from shardmill.store.trace import explain as trace_row

    outcomes = trace_row(RunFolder(folder), row_id)
    if as_json:
        click.echo(json.dumps([vars(each) for each in outcomes], indent=1, ensure_ascii=False))
        return
    for each in outcomes:
        colour = {"accepted": "green", "rejected": "red"}.get(each.outcome)
        click.secho(f"{each.stage}: {each.outcome}", bold=True, fg=colour)
        for row in each.rows:
            for name, value in row.items():
                click.echo(f"    {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--num-shards", type=click.IntRange(1), help="the new number of shards")
@click.option("--rows-per-shard", type=click.IntRange(1), help="or the new number of rows of a shard")
def replan(folder: Path, num_shards: int | None, rows_per_shard: int | None) -> None:
    """Change the number of shards of a run. Finished rows are kept, by row_id. Nothing may be running on it meanwhile."""
    from shardmill.store.replan import replan as change
    from shardmill.store.run_folder import RunFolder

    if (num_shards is None) == (rows_per_shard is None):
        raise UserError("give --num-shards or --rows-per-shard")
    before = RunFolder(folder)
    run = change(before, num_shards=num_shards, rows_per_shard=rows_per_shard)
    click.echo(f"{before.num_shards} shards became {run.num_shards}; the old files are in {before.superseded}")
    click.echo(f"next: shardmill launch {run.plan.pipeline} --run {folder}")


@cli.command("make-toy-images")
@click.argument("input", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="the folder for captions.csv and images/")
@click.option("--rows", type=click.IntRange(1), help="only so many, from the top; all if not given, 100 to 200 a second")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--caption-column", help="the column with the captions (guessed if not given)")
@click.option("--encoding", help="the input's encoding if it is not UTF-8, e.g. latin-1")
def toy_images(input: Path, out: Path, rows: int | None, seed: int, caption_column: str | None, encoding: str | None) -> None:
    """Draw simple images for the captions of INPUT, to try a pipeline without photos and without a GPU.

    About one in eight of the objects that a caption names is left out of its picture on purpose, and up to two others are added,
    so that the detector has something to reject. The other columns of INPUT are carried along.
    """
    from shardmill.embedded.toy_images import make_toy_images
    from shardmill.store.manifest import counted
    from shardmill.util.progress import Progress, ProgressLine

    line = ProgressLine("drawing")
    done = make_toy_images(
        input,
        out,
        rows=rows,
        seed=seed,
        caption_column=caption_column,
        encoding=encoding,
        report=lambda count, total: line(Progress(count, total, 0, 0)),
    )
    click.echo(f"{done.table}: {done.drawn:,} images, {done.without_objects:,} captions name no known object")
    if done.unreadable:
        click.echo(f"{sum(done.unreadable.values()):,} unreadable rows left out ({counted(done.unreadable)})")
    if done.more:
        click.echo(f"only the first {rows:,} rows; {input} has more, all of them without --rows")
    click.echo(f"next: shardmill launch negbench --input {done.table} --run data/runs/rehearsal")
