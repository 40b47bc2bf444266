"""The end of a run: the datasets, if every shard is finished."""

from __future__ import annotations

from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

from shardmill.core.registry import pipeline_of, resolve
from shardmill.models.archives import is_member
from shardmill.store.at_work import remove_dead
from shardmill.store.default_datasets import build_default
from shardmill.store.image_columns import image_column, image_reference, image_root
from shardmill.store.jobs import JobsFolder
from shardmill.store.layout import begun_shards
from shardmill.store.no_rows import check_rows
from shardmill.store.publish import complete_publication
from shardmill.store.replan import sweep
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import needed_shards
from shardmill.util.commands import command_line
from shardmill.util.errors import NoRows, UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


def finish(path: Path) -> int:
    """Build the datasets of a run if nothing is missing, else print what is missing and what to do; returns the exit code."""
    run = RunFolder(path)
    jobs = JobsFolder(run)
    missing = {stage: [shard for shard in range(needed_shards(run)) if not run.is_complete(stage, shard)] for stage in run.stages}
    if not any(missing.values()):
        build_datasets(run)
        return 0
    for stage, shards in missing.items():
        if shards:
            quarantined = len(jobs.quarantined(stage))
            echo(f"{stage}: {count_of(len(shards), 'shard')} missing, {quarantined} quarantined: {shards[:8]}", err=True)
    echo(f"no dataset was built; see: shardmill failures {run.path}, then: shardmill retry {run.path}", err=True)
    return 1


def tidy(run: RunFolder) -> None:
    """Remove what was left by a worker that was killed between publishing a shard and removing its journal, or by a replan."""
    with suppress(UserError):  # another command is changing the run, and sweeps it
        sweep(run)
    remove_dead(run)
    for stage in [INGEST, *run.stages]:
        for shard in begun_shards(run.folder(stage), run.num_shards):
            complete_publication(run.files(stage, shard), run.superseded / stage)


def build_datasets(run: RunFolder, out: Path | None = None, allow_missing: bool = False, likeness: str | None = None) -> Any:
    """Make the datasets of a run with its pipeline's `datasets`, or of its last stages by default, and print them."""
    more = {} if likeness is None else {"likeness": likeness}
    tidy(run)
    check_rows(run)
    build = resolve(pipeline_of(run).datasets) or build_default
    if more and "likeness" not in signature(build).parameters:
        raise UserError(f"{run.plan.pipeline} compares no questions; leave out --likeness")
    result = build(run, out, allow_missing=allow_missing, **more)
    for path, rows in result.files.items():
        echo(f"{path}: {count_of(rows, 'row')}" if rows is not None else f"{path}")
    for note in getattr(result, "notes", ()):
        echo(note)
    if note := image_note(run):
        echo(note)
    counts = [rows for rows in result.files.values() if rows is not None]
    if counts and not any(counts):
        raise NoRows(f"the datasets of {run.path} have no rows; what became of each row: {command_line('explain', run.path, 0)}")
    return result


def image_note(run: RunFolder) -> str | None:
    """Where a trainer finds the images that the datasets name, or how to get them out of archives; None without images."""
    last = run.leaves()[0]
    column = image_column(run, last)
    if column is None:
        return None
    values = (value for shard in range(run.num_shards) if run.is_complete(last, shard)
              for value in run.read_part(last, shard)[0][column] if value)  # fmt: skip
    first = next(values, None)
    if first is None:
        return None
    if is_member(image_reference(run, column, first)):
        exports = [command_line("export", run.path, "--format", *more) for more in (["webdataset"], ["csv", "--images", "copy"])]
        return (
            "the images are inside tar or Parquet files, which trainers do not open by these names; "
            f"with the images: {exports[0]}, or as files: {exports[1]}"
        )
    return f"images: absolute paths below {image_root(run)} (image_root in dataset.json)"
