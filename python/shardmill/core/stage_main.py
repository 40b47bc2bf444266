"""One stage on one shard by hand: `python -m shardmill.PIPELINE.STAGE --run RUN --shard-index 3`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import click

from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.core.stage import Stage
from shardmill.store.manifest import Manifest, summary
from shardmill.store.run_folder import RunFolder
from shardmill.util.exits import stop_signals, user_errors
from shardmill.util.progress import ProgressLine
from shardmill.util.terminal import echo, start_logging


def run_with_progress(run: RunFolder, stage: str, shard: int, models: ModelPool, should_stop: Callable[[], bool]) -> Manifest:
    """Run one shard with a progress line, and print its closing line."""
    label = f"{run.stage(stage).name} {shard}/{run.num_shards}"
    manifest = run_shard(run, stage, shard, models=models, report=ProgressLine(label), should_stop=should_stop)
    echo(f"{label}: {summary(manifest.rows_in, manifest.rows_out, manifest.reasons, manifest.lines_out)}")
    return manifest


def main(stage: type[Stage]) -> None:
    """The command line of a stage's module."""

    @click.command(help=(stage.__doc__ or "").replace("\n\n", "\n\n"))
    @click.option(
        "--run",
        "run",
        type=click.Path(path_type=Path, file_okay=False),
        required=True,
        help="the run folder, made by `shardmill shard`",
    )
    @click.option("--shard-index", type=int, required=True, help="which shard, from 0")
    def command(run: Path, shard_index: int) -> None:
        start_logging(logging.INFO, "%(asctime)s %(levelname)s %(message)s")
        with user_errors(), stop_signals() as stop:
            run_with_progress(RunFolder(run), stage.name, shard_index, {}, stop)

    command()
