"""The command that uploads a dataset: push."""

from __future__ import annotations

from pathlib import Path

import click

from shardmill.cli.base import code_option, run_argument
from shardmill.util.commands import HAND_ON, command
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


@command(HAND_ON)
@run_argument
@click.argument("repository", metavar="USER/NAME")
@click.option(
    "--format",
    "format",
    type=click.Choice(["hf", "dpo-parquet"]),
    default="hf",
    show_default=True,
    help="which export to upload; it is made first unless it exists",
)
@click.option("--what", multiple=True, metavar="TABLE", help="which of the run's tables, e.g. questions; for hf, may be repeated")
@click.option("--public", is_flag=True, help="make a new repository public (default: private); one that exists stays as it is")
@click.option("--allow-missing", is_flag=True, help="use the shards that are finished; the card says so")
@code_option
def push(folder: Path, repository: str, format: str, what: tuple[str, ...], public: bool, allow_missing: bool) -> None:
    """Upload a run to the Hugging Face Hub.

    It becomes a dataset there.

    The token is read from the environment variable HF_TOKEN and needs write access. The dataset's card goes with it. All files
    become visible at once; an interrupted upload continues when the command is run again.
    """
    from shardmill.export.make import export
    from shardmill.export.push import push as push_export
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import RunFolder

    def report(done: int, total: int) -> None:
        echo(f"uploaded {done:,} of {count_of(total, 'file')}", err=True)

    run = RunFolder(folder)
    check_rows(run)
    made = export(run, format, what=what, allow_missing=allow_missing)
    done = push_export(made, repository, private=not public, report=report)
    if done.uploaded or done.removed:
        removed = f", {count_of(len(done.removed), 'file')} of an earlier upload removed" if done.removed else ""
        echo(f"{count_of(len(done.uploaded), 'file')} uploaded, {done.kept:,} there already{removed}")
    else:
        echo("nothing to do: the Hub has this export already")
    echo(done.url)
