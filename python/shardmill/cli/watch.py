"""Commands that show how a run is doing: status, failures, logs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from shardmill.cli.base import code_option, run_argument
from shardmill.util.commands import WATCH, command, json_option
from shardmill.util.terminal import echo


@command(WATCH)
@run_argument
@click.option("--watch", is_flag=True, help="refresh every few seconds, until nothing is running or waiting")
@click.option("--seconds", type=click.FloatRange(1), default=5, show_default=True, help="with --watch: time between refreshes")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="print JSON; exit code 0: finished, 1: shards failed, 3: no row came out, 4: unfinished",
)
@code_option
@click.pass_context
def status(ctx: click.Context, folder: Path, watch: bool, seconds: float, as_json: bool) -> None:
    """Show how far a run is.

    Shards, rows, rates, rejections and GPU-hours of each stage; on a cluster also what SLURM says of its jobs. Progress is
    read from the run's files: it is right for any number of workers on any machine, and while SLURM does not answer.
    """
    from shardmill.monitor.status import exit_code, read_status
    from shardmill.monitor.status_view import render_status
    from shardmill.monitor.status_view import watch as watch_status
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.console import TextConsole

    run = RunFolder(folder)
    if watch:
        watch_status(run, seconds)
        return
    state = read_status(run)
    if as_json:
        echo(json.dumps(state.to_dict(), indent=1))
        ctx.exit(exit_code(state))
    TextConsole().print(render_status(state), soft_wrap=True)
    if state.no_rows:
        ctx.exit(exit_code(state))


@command(WATCH)
@run_argument
@json_option
@code_option
def failures(folder: Path, as_json: bool) -> None:
    """Show which shards failed, and why.

    They are grouped by cause; nodes that are avoided are listed too.
    """
    from shardmill.monitor.failures import read_failures, render
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.console import TextConsole

    found = read_failures(RunFolder(folder))
    if as_json:
        echo(json.dumps(found.to_dict(), indent=1))
    else:
        TextConsole().print(render(found), soft_wrap=True)


@command(WATCH)
@run_argument
@click.argument("stage")
@click.option("--shard", type=click.IntRange(0), help="which shard, counted from 0 (default: the latest log of the stage)")
@click.option("--lines", type=click.IntRange(1), help="print only this many lines from the end")
@click.option("--path", "only_path", is_flag=True, help="print the paths of the logs instead")
@code_option
def logs(folder: Path, stage: str, shard: int | None, lines: int | None, only_path: bool) -> None:
    """Print the log of a stage or of a shard."""
    from shardmill.monitor.log_files import latest_text, logs_of
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    short = run.stage(stage).name
    if only_path:
        for path in logs_of(run, short, shard):
            echo(path)
    else:
        echo(latest_text(run, short, shard, lines))
