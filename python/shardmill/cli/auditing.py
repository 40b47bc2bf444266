"""Commands for people who check data: audit (tick a sample of it), compare (what changed between two runs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from shardmill.cli.base import FILE, FOLDER, cli
from shardmill.util.errors import UserError


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--rows", type=click.IntRange(1), default=200, show_default=True, help="how many rows to draw")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed draws other rows")
@click.option("--out", type=FOLDER, help="the folder of the sheet and the page (RUN/audit)")
@click.option("--allow-missing", is_flag=True, help="draw from the finished shards of an unfinished run")
@click.option(
    "--read",
    "sheets",
    type=FILE,
    multiple=True,
    metavar="SHEET.csv",
    help="a ticked sheet: tells the error rates; once for each person who ticked",
)
@click.option("--json", "as_json", is_flag=True, help="with --read: for scripts")
def audit(
    folder: Path, rows: int, seed: int, out: Path | None, allow_missing: bool, sheets: Sequence[Path], as_json: bool
) -> None:
    """Check rows by hand: draw a sample, tick what it claims on a page or in a sheet, and learn how much of RUN is wrong.

    \b
    shardmill audit RUN                                  writes RUN/audit/audit.html and audit.csv
    shardmill audit RUN --read ann.csv --read bob.csv    error rates with intervals, and how far the two agree

    The sample is the same for any number of shards. Rare templates and edit types are drawn as often as common ones; the rates
    are weighted back to the whole dataset.
    """
    from shardmill.audit import draw as drawing
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    place = out or folder / drawing.FOLDER
    if sheets:
        _read(run, place, sheets, as_json)
        return
    if as_json:
        raise UserError("--json goes with --read; the sample that is drawn stands in sample.json")
    from shardmill.audit.page import write_page
    from shardmill.audit.sheet import write_sheet

    sample, drawn = drawing.draw(run, rows, seed, allow_missing=allow_missing)
    if not sample.claims:
        raise UserError(f"no row of {folder} claims anything that a person can tick")
    write_sheet(sample, place / drawing.SHEET)
    drawing.save_sample(sample, place)
    write_page(sample, drawn, place / drawing.PAGE, f"{run.plan.pipeline}: {folder.resolve().name}")
    click.echo(f"{len(drawn):,} rows with {len(sample.claims):,} claims, of {len(sample.strata)} strata, seed {seed}")
    if sample.missing_shards:
        click.echo(f"note: {len(sample.missing_shards)} of {run.num_shards} shards are not finished and not in it", err=True)
    click.echo(f"tick them on {place / drawing.PAGE} (opens from disk) or in {place / drawing.SHEET}")
    where = f" --out {out}" if out else ""
    click.echo(f"then: shardmill audit {folder}{where} --read SHEET.csv, once for each person who ticked")


def _read(run: object, place: Path, sheets: Sequence[Path], as_json: bool) -> None:
    from rich.console import Console

    from shardmill.audit.draw import changed_since, load_sample
    from shardmill.audit.result import result_of, save_result
    from shardmill.audit.sheet import read_sheet
    from shardmill.audit.view import render_result
    from shardmill.store.run_folder import RunFolder

    assert isinstance(run, RunFolder)
    sample = load_sample(run, place)
    result = result_of(sample, [read_sheet(path, sample) for path in sheets], changed_since(run, sample))
    path = save_result(result, place)
    if as_json:
        click.echo(result.model_dump_json(indent=1))
    else:
        Console().print(render_result(result), soft_wrap=True)
        click.echo(path)


@cli.command()
@click.argument("a", type=FOLDER, metavar="RUN_A")
@click.argument("b", type=FOLDER, metavar="RUN_B")
@click.option("--rows", type=click.IntRange(0), default=10, show_default=True, help="how many rows that differ to show")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed shows other rows")
@click.option("--out", type=FILE, metavar="PAGE.html", help="also write all of it as a page that opens from disk")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def compare(a: Path, b: Path, rows: int, seed: int, out: Path | None, as_json: bool) -> None:
    """What changed from RUN_A to RUN_B: plans, yields, balances, objects, and rows that differ, column by column.

    Both must be runs of one pipeline. Rows are matched by row_id if the input is the same, for any two numbers of shards; what is
    not finished in both is left out and told. A difference is called beyond chance by a chi-square test.
    """
    from rich.console import Console

    from shardmill.compare.runs import compare as compare_runs
    from shardmill.compare.view import page_of, render_comparison
    from shardmill.store.atomic import replacing
    from shardmill.store.run_folder import RunFolder

    found = compare_runs(RunFolder(a), RunFolder(b), rows, seed)
    if out is not None:
        with replacing(out) as file:
            file.write(page_of(found).encode("utf-8"))
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    Console().print(render_comparison(found))
    if out is not None:
        click.echo(out)
