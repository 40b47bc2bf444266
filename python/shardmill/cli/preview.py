"""Commands that say what a run will do: preview (a few rows), estimate (time and space)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from shardmill.cli.base import INPUT_SECTIONS, code_option, input_options, new_run, run_argument
from shardmill.util.commands import FILE, START, command, command_line, json_option, print_next
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

PIPELINE_ROWS, STAGE_ROWS = 8, 5


@command(START, options={"Preview": ("--input", "-n", "--out", "--pipeline"), **INPUT_SECTIONS})
@click.argument("what", metavar="PIPELINE|STAGE")
@click.option("--input", "input", type=FILE, help="a table; not needed for a pipeline with a bundled sample")
@click.option(
    "-n",
    "--rows",
    type=int,
    help=f"number of rows (default: {PIPELINE_ROWS} random rows for a pipeline, the first {STAGE_ROWS} for a stage)",
)
@click.option("--out", type=FILE, help="where to write the page of a pipeline (default: preview.html)")
@click.option("--pipeline", default="", help="the pipeline of STAGE (default: see `shardmill --help`)")
@input_options
@code_option
def preview(what: str, input: Path | None, rows: int | None, out: Path | None, pipeline: str, **options: Any) -> None:
    """Try a pipeline or a stage on a few rows.

    \b
    shardmill preview PIPELINE                 all stages on a sample, as a page
    shardmill preview my.yaml --input my.csv   your pipeline file on your table
    shardmill preview STAGE --input my.csv     one stage, printed here

    The page shows each row's image with boxes and, for each stage, the prompts as sent, the raw answers and the result. No run
    is left behind. Rows have the row_ids and the random choices that they would have in a run on the same table, but for stages
    that learn from many rows: here they learn from these few.
    """
    if is_pipeline(what):
        _preview_pipeline(what, input, PIPELINE_ROWS if rows is None else rows, out or Path("preview.html"), options)
        return
    if out is not None:
        raise UserError(f"--out is for a whole pipeline; the stage {what} is shown in the terminal")
    if input is None:
        raise UserError(f"name the table that the stage {what} is to be shown on: --input captions.csv")
    _preview_stage(what, input, STAGE_ROWS if rows is None else rows, pipeline, options)


def is_pipeline(what: str) -> bool:
    """Whether a name is that of a pipeline or a pipeline file, rather than of a stage."""
    from shardmill.core.registry import pipeline_names
    from shardmill.core.user_code import is_reference
    from shardmill.util.resources import resource_names

    return (
        what in {*pipeline_names(), *resource_names("slurm/pipelines")} or what.endswith((".yaml", ".yml")) or is_reference(what)
    )


def sample_of(pipeline: str) -> Path:
    """The bundled sample of a pipeline. Raises UserError if it has none."""
    from shardmill.core.pipeline_file import load_pipeline
    from shardmill.core.registry import find_pipeline
    from shardmill.util.resources import resource_path

    known = find_pipeline(load_pipeline(pipeline).pipeline)
    name = known.samples.get(Path(pipeline).stem) or known.samples.get(known.name)
    try:
        return resource_path(f"data/samples/{name}")
    except UserError:
        raise UserError(f"{pipeline} has no bundled sample here; name a table with --input") from None


def _preview_pipeline(pipeline: str, input: Path | None, rows: int, out: Path, options: dict[str, Any]) -> None:
    from shardmill.previews import preview_run
    from shardmill.previews.page import write_preview

    input = input or sample_of(pipeline)
    with preview_run(new_run(input, pipeline, options), rows) as (run, traced):
        write_preview(run, traced, out, str(input))
    rejected = sum(row.rejected for row in traced)
    echo(f"{count_of(len(traced), 'row')} of {input}: {len(traced) - rejected} accepted, {rejected} rejected")
    echo(f"open {out} in a browser; then: {command_line('launch', pipeline, '--input', input, '--run', 'data/runs/first')}")


def _preview_stage(stage: str, input: Path, rows: int, pipeline: str, options: dict[str, Any]) -> None:
    from shardmill.previews import preview_stage

    for row in preview_stage(stage, new_run(input, pipeline, options), rows):
        step = row.steps[-1]
        echo(f"row {row.row_id}: {row.values.get('caption')}", bold=True)
        for exchange in step.exchanges:
            for message in exchange.sent:
                echo(f"  {message['role']}:", fg="blue")
                echo("    " + message["content"].replace("\n", "\n    "))
            echo("  answer:", fg="blue")
            echo("    " + exchange.raw.replace("\n", "\n    "))
        echo(f"  {step.result.outcome}", fg="red" if step.rejected else "green")
        for values in step.result.rows:
            echo("    " + json.dumps(values, ensure_ascii=False))


@command(START)
@run_argument
@click.option("--site", help="a site file, or its name in slurm/sites/ (default: one worker on this machine)")
@click.option("--max-parallel", type=click.IntRange(1), help="with --site: at most this many nodes at a time")
@click.option("--probe/--no-probe", default=True, show_default=True, help="if no shard is finished, run one here")
@json_option
@code_option
def estimate(folder: Path, site: str | None, max_parallel: int | None, probe: bool, as_json: bool) -> None:
    """Estimate a run's GPU-hours, time and space.

    The estimate is made from the shards that are finished. If there is none, one shard is run here through all stages first; its
    results are kept.
    """
    from shardmill.launch.site import load_site
    from shardmill.monitor.estimate import estimate as estimate_run
    from shardmill.monitor.estimate import probe as run_probe
    from shardmill.monitor.estimate_view import render
    from shardmill.monitor.rates import stage_rates
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.console import TextConsole

    run = RunFolder(folder)
    cluster = load_site(site) if site else None
    if cluster is not None:
        cluster.check(run.plan)
    if probe:
        run_probe(run)
    made = estimate_run(run, cluster, stage_rates(run), max_parallel)
    if as_json:
        echo(json.dumps(made.to_dict(), indent=1))
        return
    TextConsole().print(render(made))
    print_next("launch", run.plan.pipeline, "--run", folder, *(("--site", site) if site else ()))
