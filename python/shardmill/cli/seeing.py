"""Commands that show data as a page: report (a finished or a running run), preview (what a run would do)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.cli.base import FILE, FOLDER, cli, input_options, new_run
from shardmill.util.errors import UserError

if TYPE_CHECKING:
    from shardmill.quality.model import QualityFinding

ORDER = ("fail", "look", "pass")
LINE = 150
COLOURS = {"fail": "red", "look": "yellow", "pass": "green"}


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--out", type=FILE, help="where the page goes (RUN/report/report.html if not given); report.json stands beside it")
@click.option("--rows", type=click.IntRange(0), default=60, show_default=True, help="how many rows the gallery shows")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed shows other rows")
@click.option("--json", "as_json", is_flag=True, help="print report.json instead of the verdicts")
@click.option("--brief", is_flag=True, help="tell only the rules that are not kept, and where the page is")
def report(folder: Path, out: Path | None, rows: int, seed: int, as_json: bool, brief: bool) -> None:
    """Is the data of RUN fit to train on: one page with the verdicts, the figures behind them, and rows to look at.

    The page is one file that needs no network and no server. A run that is still going on may be reported too.
    """
    from shardmill.quality.gather import gather
    from shardmill.quality.page import write_report
    from shardmill.store.atomic import replacing
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    found = gather(run, rows=rows, seed=seed)
    page = out or folder / "report" / "report.html"
    figures = found.model_dump_json(indent=1)
    with replacing(page.parent / "report.json") as file:
        file.write((figures + "\n").encode("utf-8"))
    write_report(found, page, Path(run.plan.input.image_root))
    if as_json:
        click.echo(figures)
        return
    for finding in sorted(found.findings, key=lambda finding: ORDER.index(finding.verdict)):
        if not (brief and finding.verdict == "pass"):
            _tell(finding)
    click.echo(f"{found.facts.get('verdict') or f'{len(found.findings)} rules'}; the page: {page}")


def _tell(finding: QualityFinding) -> None:
    """The verdict on a rule: a line if it is kept, else its figure, threshold and meaning too."""
    from shardmill.pages.shown import shortened, shown_text

    word = click.style(f"{finding.verdict:4}", fg=COLOURS[finding.verdict], bold=finding.verdict != "pass")
    if finding.verdict == "pass":
        line = finding.rule.rstrip(".") + ": " + finding.shown
        click.echo(f"{word}  {shortened(line, LINE)}")
        return
    click.echo(f"{word}  " + click.style(shown_text(finding.rule), bold=True))
    click.echo(f"      {shown_text(finding.shown)}; wanted: {shown_text(finding.threshold)}; measured on {finding.n:,}")
    click.echo(f"      {shown_text(finding.means)}")
    if finding.examples:
        click.echo("      such as row " + ", ".join(str(example.row_id) for example in finding.examples))


@cli.command()
@click.argument("what", metavar="PIPELINE|STAGE")
@click.option("--input", "input", type=FILE, help="a table; for a whole pipeline the bundled sample if not given")
@click.option("-n", "--rows", type=int, help="how many rows: 8 drawn ones for a pipeline, the first 5 for a stage, if not given")
@click.option("--out", type=FILE, help="the page of a whole pipeline (preview.html if not given)")
@click.option("--pipeline", default="", help="the pipeline of a STAGE")
@input_options
def preview(what: str, input: Path | None, rows: int | None, out: Path | None, pipeline: str, **options: Any) -> None:
    """Show what a pipeline, or one stage of it, does with a few rows, before a run is started.

    \b
    shardmill preview negbench                 all stages over 8 rows of the bundled sample: a page
    shardmill preview my.yaml --input my.csv   a pipeline file of yours over a table of yours
    shardmill preview create_mcq --input my.csv    one stage, in this terminal

    The page shows for each row its image with boxes, and for each stage the prompts as sent, the raw answers, and the result. No
    run is left behind. Rows keep the row_ids and the random choices that they have in a run over the same table.
    """
    if is_pipeline(what):
        _preview_page(what, input, 8 if rows is None else rows, out or Path("preview.html"), options)
        return
    if out is not None:
        raise UserError(f"--out is for a whole pipeline; {what} is shown in the terminal")
    if input is None:
        raise UserError(f"name the table that stage {what} is shown on: --input captions.csv")
    _preview_stage(what, input, 5 if rows is None else rows, pipeline, options)


def is_pipeline(what: str) -> bool:
    """Whether a name is that of a pipeline, or of a pipeline file, not of a stage."""
    from shardmill.core.registry import pipeline_names
    from shardmill.core.user_code import is_reference
    from shardmill.util.resources import resource_names

    return (
        what in {*pipeline_names(), *resource_names("slurm/pipelines")} or what.endswith((".yaml", ".yml")) or is_reference(what)
    )


def _preview_page(pipeline: str, input: Path | None, rows: int, out: Path, options: dict[str, Any]) -> None:
    from shardmill.core.pipeline_file import load_pipeline
    from shardmill.core.registry import find_pipeline
    from shardmill.preview import preview_run
    from shardmill.preview.page import write_preview
    from shardmill.util.counts import count_noun
    from shardmill.util.resources import resource_path

    if input is None:
        known = find_pipeline(load_pipeline(pipeline).pipeline)
        name = known.samples.get(Path(pipeline).stem) or known.samples.get(known.name)
        try:
            input = resource_path(f"data/samples/{name}")
        except UserError:
            raise UserError(f"there is no sample for {pipeline} here; name a table with --input") from None
    with preview_run(new_run(input, pipeline, options), rows) as (run, found):
        write_preview(run, found, out, str(input))
    rejected = sum(row.rejected for row in found)
    click.echo(f"{count_noun(len(found), 'row')} of {input}: {len(found) - rejected} accepted, {rejected} rejected")
    click.echo(f"the page: {out}")


def _preview_stage(stage: str, input: Path, rows: int, pipeline: str, options: dict[str, Any]) -> None:
    from shardmill.preview import preview_stage

    for row in preview_stage(stage, new_run(input, pipeline, options), rows):
        step = row.steps[-1]
        click.secho(f"row {row.row_id}: {row.values.get('caption')}", bold=True)
        for exchange in step.exchanges:
            for message in exchange.sent:
                click.secho(f"  {message['role']}:", fg="blue")
                click.echo("    " + message["content"].replace("\n", "\n    "))
            click.secho("  answer:", fg="blue")
            click.echo("    " + exchange.raw.replace("\n", "\n    "))
        click.secho(f"  {step.result.outcome}", fg="red" if step.rejected else "green")
        for values in step.result.rows:
            click.echo("    " + json.dumps(values, ensure_ascii=False))
