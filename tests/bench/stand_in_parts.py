"""Parts of stages that a bench does not run at full size: what the real stages gave to a sample, repeated over all rows.

Such a part is published as a real one is, with conservation, digests and fingerprint, and holds as many bytes a row. A row gets
the columns of one row of the sample, the same in all stages: lists, captions and questions fit each other, but not its caption.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from generated_captions import write_captions

from shardmill.core.planning import NewRun, start_run
from shardmill.core.seeding import uniform
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.finish import finish_shard
from shardmill.store.frames import DTYPES
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.atomic import make_folder, new_attempt

SETTINGS = ("filter_objects.unverified=keep",)
SAMPLE_ROWS = 2_000


def sample_run(folder: Path) -> RunFolder:
    """A small run of generated captions with every stage run for real."""
    table = folder / "sample.csv"
    write_captions(table, SAMPLE_ROWS, seed=1)
    run = start_run(folder / "sample", NewRun(input=table, num_shards=1, settings=SETTINGS))
    models: ModelPool = {}
    for stage in run.stages:
        run_shard(run, stage, 0, models=models)
    return run


def fill(run: RunFolder, stage: str, sample: RunFolder) -> None:
    """Publish all shards of a stage of `run`, made of what the stage gave to the rows of the sample."""
    short = run.stage(stage)
    keys = [name for name in ("row_id", "sub_id") if name in run.kinds(short.after)]
    whole = _whole_rows(sample)
    part = sample.read_part(stage, 0)[0].join(whole, on="row_id").unique("row_id", keep="first").sort("pool")
    adds = part.select("pool", *(name for name in short.adds if name not in keys))
    manifest = sample.manifest(stage, 0)
    assert manifest is not None
    share = manifest.rejected / manifest.rows_in
    reason = max(manifest.reasons, key=lambda name: manifest.reasons[name], default="")
    make_folder(run.folder(stage))
    for shard in range(run.num_shards):
        started = time.time()
        table, above = run.read_part(short.after, shard)
        refused = uniform(pl.col("row_id"), "stand-in", stage) < share
        rows = table.select(
            *keys,
            pool=(uniform(pl.col("row_id"), "stand-in") * whole.height).floor().cast(pl.UInt32),
            reject_reason=pl.when(refused).then(pl.lit(reason)),
        )
        made = rows.join(adds, on="pool", how="left", maintain_order="left")
        if "sub_id" in short.adds and "sub_id" not in keys:
            made = made.with_columns(sub_id=pl.lit(0, DTYPES["int"]))
        finish_shard(Shard(run, stage, shard), table, above, new_attempt(), started=started, transformed=made)


def _whole_rows(sample: RunFolder) -> pl.DataFrame:
    """The rows that came out of every stage, numbered in `pool`."""
    whole = sample.read_part(sample.leaves()[0], 0)[0].select("row_id").unique(maintain_order=True)
    for leaf in sample.leaves()[1:]:
        whole = whole.join(sample.read_part(leaf, 0)[0].select("row_id").unique(), on="row_id", how="semi")
    return whole.sort("row_id").with_row_index("pool")


def fill_all(run: RunFolder, stages: Sequence[str], sample: RunFolder) -> None:
    for stage in stages:
        fill(run, stage, sample)
