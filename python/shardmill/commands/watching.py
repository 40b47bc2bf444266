"""Commands that tell how it goes: status, logs, failures, estimate, doctor."""

from __future__ import annotations

import json
from pathlib import Path

import click

from shardmill.commands.base import FOLDER, cli


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def status(folder: Path, as_json: bool) -> None:
    """How far a run is, from its files alone: stages, shards, rows, rates, rejections."""
    from rich.console import Console

    from shardmill.report.status import read_status, render_status
    from shardmill.shards.run_folder import RunFolder

    state = read_status(RunFolder(folder))
    if as_json:
        click.echo(json.dumps(state.to_dict(), indent=1))
    else:
        Console().print(render_status(state))
