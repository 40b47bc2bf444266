"""Commands that check data by hand or against another run: audit, compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shardmill.cli.base import code_option, run_argument
from shardmill.util.commands import FILE, FOLDER, LOOK, command, command_line, json_option, print_note
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

if TYPE_CHECKING:
    from shardmill.store.run_folder import RunFolder


@command(LOOK)
@run_argument
@click.option("--rows", type=click.IntRange(1), default=200, show_default=True, help="how many rows to draw")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed draws other rows")
@click.option("--out", type=FOLDER, help="folder of the sheet and the page (default: RUN/audit)")
@click.option("--allow-missing", is_flag=True, help="draw from the finished shards of an unfinished run")
@click.option(
    "--read",
    "sheets",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="a ticked sheet, or a JSON export of Label Studio: print the error rates; repeat it for each annotator",
)
@click.option("--label-studio", is_flag=True, help="also write the statements as tasks for Label Studio")
@click.option("--json", "as_json", is_flag=True, help="with --read: print JSON, for scripts")
@code_option
def audit(
    folder: Path,
    rows: int,
    seed: int,
    out: Path | None,
    allow_missing: bool,
    sheets: Sequence[Path],
    label_studio: bool,
    as_json: bool,
) -> None:
    """Check a sample of rows by hand.

    The error rates of the whole run follow from it.

    \b
    shardmill audit RUN
        writes RUN/audit/audit.html and audit.csv
    shardmill audit RUN --read ann.csv --read bob.csv
        error rates with intervals, and how far the two agree

    Tick the statements about each row on the page or in the sheet. The sample is the same for any number of shards. Rare
    templates and edit types are drawn as often as common ones; the error rates are weighted back to the whole dataset.
    """
    from shardmill.audit.sample import FOLDER as AUDIT_FOLDER
    from shardmill.audit.sample import PAGE, SHEET, draw_sample, save_sample
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    target = out or folder / AUDIT_FOLDER
    if sheets:
        _read_sheets(run, target, sheets, as_json)
        return
    if as_json:
        raise UserError("--json goes with --read; the sample itself is written to sample.json")
    from shardmill.audit.page import write_page
    from shardmill.audit.sheet import write_sheet

    sample, drawn = draw_sample(run, rows, seed, allow_missing=allow_missing)
    if not sample.claims:
        raise UserError(f"no row of {folder} has anything that a person can tick")
    write_sheet(sample, target / SHEET)
    save_sample(sample, target)
    write_page(sample, drawn, target / PAGE, f"{run.plan.pipeline}: {folder.resolve().name}")
    strata = count_of(len(sample.strata), "stratum", "strata")
    echo(f"{count_of(len(drawn), 'row')} with {count_of(len(sample.claims), 'statement')} from {strata}, seed {seed}")
    if sample.missing_shards:
        unfinished = f"{len(sample.missing_shards)} of {count_of(run.num_shards, 'shard')}"
        print_note(f"the sample leaves out {unfinished}, not finished yet")
    echo(f"tick them on {target / PAGE} (opens from disk) or in {target / SHEET}")
    if label_studio:
        from shardmill.audit.label_studio import INTERFACE, write_tasks

        tasks = write_tasks(sample, drawn, target)
        echo(f"or in Label Studio: import {tasks} into a project with the labelling interface {target / INTERFACE}")
    again = command_line("audit", folder, *(("--out", out) if out else ()), "--read", "SHEET.csv")
    echo(f"then run, with one --read for each annotator: {again}")


def _read_sheets(run: RunFolder, target: Path, sheets: Sequence[Path], as_json: bool) -> None:
    from shardmill.audit.label_studio import is_label_studio, read_annotations
    from shardmill.audit.result import save_result, summarize_sheets
    from shardmill.audit.sample import changed_stages, load_sample
    from shardmill.audit.sheet import read_sheet
    from shardmill.audit.view import render_result
    from shardmill.util.console import TextConsole

    sample = load_sample(run, target)
    read = [
        sheet
        for path in sheets
        for sheet in (read_annotations(path, sample) if is_label_studio(path) else [read_sheet(path, sample)])
    ]
    result = summarize_sheets(sample, read, changed_stages(run, sample))
    path = save_result(result, target)
    if as_json:
        echo(result.model_dump_json(indent=1))
    else:
        TextConsole(markup=True).print(render_result(result), soft_wrap=True)
        echo(f"the result as data: {path}")


@command(LOOK)
@click.argument("a", type=FOLDER, metavar="RUN_A")
@click.argument("b", type=FOLDER, metavar="RUN_B")
@click.option("--rows", type=click.IntRange(0), default=10, show_default=True, help="how many of the rows that differ to show")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed shows other rows")
@click.option("--out", type=FILE, metavar="PAGE.html", help="also write the comparison as a page that opens from disk")
@json_option
@code_option
def compare(a: Path, b: Path, rows: int, seed: int, out: Path | None, as_json: bool) -> None:
    """Show what differs between two runs.

    Both are of one pipeline; plans, yields, balances, objects and rows are compared. Rows are matched by row_id if the input
    is the same, for any two numbers of shards, and compared column by column. What is not finished in both is left out and
    listed. A chi-square test decides whether a difference is beyond chance.
    """
    from shardmill.compare.runs import compare as compare_runs
    from shardmill.compare.view import page_of, render_comparison
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.atomic import replacing
    from shardmill.util.console import TextConsole

    found = compare_runs(RunFolder(a), RunFolder(b), rows, seed)
    if out is not None:
        with replacing(out) as file:
            file.write(page_of(found).encode("utf-8"))
    if as_json:
        echo(found.model_dump_json(indent=1))
        return
    TextConsole(markup=True).print(render_comparison(found))
    if out is not None:
        echo(f"the page: {out}")
