"""A run of one shard over a few rows of an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from shardmill.core.planning import NewRun, open_input, reads_captions, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.tables import folder_of
from shardmill.util.errors import UserError

ChooseRows = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Chooses so many rows of a table and keeps their order."""


def start_small_run(new: NewRun, rows: int, folder: Path, choose: ChooseRows) -> tuple[RunFolder, list[int]]:
    """Start a run of one shard in `folder` over chosen rows of the input; returns it and the row_ids of those rows.

    Raises UserError as a real run would, and for an input without a readable row.
    """
    path, row_ids = _write_chosen_rows(new, rows, folder, choose)
    root = new.image_root or folder_of(new.input)
    short = replace(
        new,
        input=path,
        encoding=None,
        quoting="standard",
        separator=None,
        header=True,
        columns=(),
        image_root=root,
        num_shards=1,
        rows_per_shard=None,
        target_rows=None,
    )
    return start_run(folder / "run", short), row_ids


def _write_chosen_rows(new: NewRun, rows: int, folder: Path, choose: ChooseRows) -> tuple[Path, list[int]]:
    """Write a CSV of rows from the beginning of the input.

    The rows keep their row_ids, and with them their random choices in a real run: empty lines fill the gaps between them.
    """
    if rows < 1:
        raise UserError(f"--rows must be at least 1, not {rows}")
    table = open_input(new, folder_of(new.input), captioned=reads_captions(new.pipeline_file)).table
    batch = next(iter(table.batches()), None)
    if batch is None or batch.frame.height == 0:
        raise UserError(f"{new.input} has no readable rows below its header")
    path = folder / "rows.csv"
    chosen = choose(batch.frame, rows)
    row_ids = chosen["row_id"].to_list()
    numbers = pl.DataFrame({"row_id": range(row_ids[-1] + 1)}, schema={"row_id": pl.Int64})
    whole = numbers.join(chosen, on="row_id", how="left", maintain_order="left")
    whole.select(pl.col(table.columns).fill_null("")).write_csv(path)
    return path, row_ids
