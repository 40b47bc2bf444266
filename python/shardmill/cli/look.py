"""Commands that show the data of a run: report (all of it), explain (one row)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shardmill.cli.base import code_option, run_argument
from shardmill.util.commands import FILE, LOOK, command, json_option, print_next, print_note
from shardmill.util.terminal import echo

if TYPE_CHECKING:
    from shardmill.quality.model import QualityFinding

WORST_FIRST = ("fail", "look", "pass")
LINE = 150
COLOURS = {"fail": "red", "look": "yellow", "pass": "green"}


@command(LOOK)
@run_argument
@click.option("--out", type=FILE, help="where to write the page, with report.json beside it (default: RUN/report/report.html)")
@click.option("--rows", type=click.IntRange(0), default=60, show_default=True, help="number of rows in the gallery")
@click.option("--seed", type=int, default=0, show_default=True, help="another seed shows other rows")
@click.option("--json", "as_json", is_flag=True, help="print report.json instead of the verdicts, for scripts")
@click.option("--all", "all_rules", is_flag=True, help="print the rules that passed as well")
@code_option
def report(folder: Path, out: Path | None, rows: int, seed: int, as_json: bool, all_rules: bool) -> None:
    """Check whether the data is fit to train on.

    Quality rules, figures and sample rows, on one page. The page is a single file that needs no network and no server.
    Unfinished runs can be reported too.
    """
    from shardmill.quality.gather import gather
    from shardmill.quality.model_uses import embedded_note
    from shardmill.quality.page import write_report
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.atomic import replacing

    run = RunFolder(folder)
    found = gather(run, rows=rows, seed=seed)
    page = out or folder / "report" / "report.html"
    figures = found.model_dump_json(indent=1)
    with replacing(page.parent / "report.json") as file:
        file.write((figures + "\n").encode("utf-8"))
    write_report(found, page, Path(run.plan.input.image_root))
    if as_json:
        echo(figures)
        check_rows(run)
        return
    for finding in sorted(found.findings, key=lambda finding: WORST_FIRST.index(finding.verdict)):
        if all_rules or finding.verdict != "pass":
            print_finding(finding)
    if note := embedded_note(found.models):
        print_note(note)
    echo(f"{found.facts['verdict']}; the page, with how to fix what is wrong: {page}")
    check_rows(run)
    print_next("audit", folder)


def print_finding(finding: QualityFinding) -> None:
    """Print the verdict on a rule: one line if it passed, else its figure, threshold and meaning too."""
    from shardmill.pages.shown import shortened, shown_text

    echo(f"{finding.verdict:4}  ", nl=False, fg=COLOURS[finding.verdict], bold=finding.verdict != "pass")
    if finding.verdict == "pass":
        line = finding.rule.rstrip(".") + ": " + finding.shown
        echo(shortened(line, LINE))
        return
    echo(shown_text(finding.headline), bold=True)
    echo(f"      {shown_text(finding.shown)}; allowed: {shown_text(finding.threshold)}")
    echo(f"      {shown_text(finding.means)}")
    if finding.examples:
        rows = list(dict.fromkeys(str(example.row_id) for example in finding.examples))
        echo(f"      for example {'row' if len(rows) == 1 else 'rows'} {', '.join(rows)}")


@command(LOOK)
@run_argument
@click.argument("row_id", type=int)
@json_option
@code_option
def explain(folder: Path, row_id: int, as_json: bool) -> None:
    """Trace one row through all stages.

    It shows what each stage added to the row, or why it was rejected. Rows are numbered from 0, in the order of the input.
    """
    from shardmill.store.run_folder import RunFolder
    from shardmill.store.trace import explain as trace_row

    trace = trace_row(RunFolder(folder), row_id)
    if as_json:
        echo(json.dumps([vars(step) for step in trace], indent=1, ensure_ascii=False))
        return
    for step in trace:
        echo(f"{step.stage}: {step.outcome}", bold=True, fg={"accepted": "green", "rejected": "red"}.get(step.outcome))
        for row in step.rows:
            for name, value in row.items():
                echo(f"    {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
