"""A run of one shard over a few rows of an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from shardmill.core.planning import NewRun, reads_captions, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.tables import open_table
from shardmill.tables.ingest import map_columns
from shardmill.util.errors import UserError

Choose = Callable[[pl.DataFrame, int], pl.DataFrame]
"""So many rows of a table, in their order."""


def start_over(new: NewRun, rows: int, folder: Path, choose: Choose) -> tuple[RunFolder, list[int]]:
    """A run of one shard over chosen rows of the input, and their row_ids."""
    path, row_ids = _chosen_rows(new, rows, folder, choose)
    root = new.image_root or (new.input if new.input.is_dir() else new.input.parent)
    short = replace(
        new, input=path, encoding=None, quoting="standard", image_root=root, num_shards=1, rows_per_shard=None, target_rows=None
    )
    return start_run(folder / "run", short), row_ids


def _chosen_rows(new: NewRun, rows: int, folder: Path, choose: Choose) -> tuple[Path, list[int]]:
    """A CSV of chosen rows of the input's beginning. They keep their row_ids, and with them the seeds of a real run."""
    if rows < 1:
        raise UserError(f"--rows must be at least 1, not {rows}")
    table = open_table(new.input, encoding=new.encoding, quoting=new.quoting)
    captioned = reads_captions(new.pipeline_file)
    map_columns(table.columns, new.caption_column, new.image_column, new.list_columns, captioned=captioned)
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
