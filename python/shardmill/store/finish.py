"""Turning finished rows into a published shard: part, rejects, manifest, with the conservation check before the manifest."""

from __future__ import annotations

import math
import os
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import polars as pl

from shardmill import __version__
from shardmill.store.cells import Kind, Kinds
from shardmill.store.current_plan import CurrentPlan
from shardmill.store.frames import DTYPES, GrowingFrame, write_frame
from shardmill.store.journal import read_records
from shardmill.store.layout import REJECTS, ShardFiles
from shardmill.store.manifest import FileRecord, InputRecord, Manifest
from shardmill.store.publish import publish, withdraw
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.atomic import file_digest, sync_file, write_durably
from shardmill.util.errors import PlanChanged

JOB_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_PROCID",
    "SLURMD_NODENAME",
    "SLURM_RESTART_COUNT",
    "CUDA_VISIBLE_DEVICES",
    "SHARDMILL_NODE",
    "SHARDMILL_LOG",
)
USAGE = ("requests", "retries", "prompt_tokens", "cached_tokens", "completion_tokens", "request_seconds")


class ConservationError(AssertionError):
    """Rows were lost or doubled, which is a bug. Nothing was published."""


def finish_shard(
    shard: Shard,
    table: pl.DataFrame,
    above: Manifest,
    attempt: str,
    *,
    started: float,
    own_rows: int | None = None,
    transformed: pl.DataFrame | None = None,
    round: int = 0,
    fits: Mapping[int, str] | None = None,
    commits: Mapping[str, str] | None = None,
    loading: float = 0.0,
    current: CurrentPlan | None = None,
) -> Manifest:
    """Write and publish the shard from its journals, or from the `transformed` frame of a table stage.

    `own_rows` is how many of its rows this attempt has finished: all of them if not given. `fits` has the digests of the fits,
    and `commits` the commits of the weights, that it was made with; `loading` are the seconds that its model took to load.
    `current` is the plan that it works for, with what it knows of it already.

    Returns the manifest, which is another attempt's if that one was faster.

    Raises:
        PlanChanged: The shard is planned otherwise by now, or its input part was made again. Nothing is published.
    """
    run, stage, files = shard.run, shard.stage, shard.files
    current = current or CurrentPlan(run, stage, shard.index, above)
    keys: dict[str, Kind] = {name: "int" for name in ("row_id", "sub_id") if name in table.columns}
    adds = shard.planned.adds
    usage: dict[str, float] = {}
    if transformed is None:
        added, rejects, usage = _from_journals(files, shard.digests, keys, adds, table)
    else:
        added, rejects = _from_transform(transformed, keys, adds)
    out = table.join(added, on=list(keys), how="inner", maintain_order="left_right")
    order = table.select(list(keys)).with_row_index("#")
    rejects = rejects.join(order, on=list(keys), how="left").sort("#").drop("#")
    reject_kinds: dict[str, Kind] = {**keys, **REJECTS}
    kinds = {name: kind for name, kind in run.kinds(stage).items() if name in out.columns}
    check_conservation(table, out, rejects, list(keys))
    write_frame(out, kinds, files.staged(attempt).part, run.plan.part_format)
    counts = ShardCounts(table.height, out.select(pl.struct(list(keys)).n_unique()).item(), out.height)
    source = InputRecord(stage=above.stage, sha256=above.part.sha256)
    return seal(
        run,
        stage,
        shard.index,
        attempt,
        counts,
        rejects,
        reject_kinds,
        source,
        columns=kinds,
        started=started,
        round=round,
        usage=usage,
        elsewhere=0 if own_rows is None else table.height - own_rows,
        fits=fits,
        current=current,
        commits=commits,
        loading=loading,
    )


@dataclass(frozen=True)
class ShardCounts:
    """Distinct rows that went in, distinct rows that came out, and lines of the part."""

    rows_in: int
    rows_out: int
    lines_out: int


def seal(
    run: RunFolder,
    stage: str,
    shard: int,
    attempt: str,
    counts: ShardCounts,
    rejects: pl.DataFrame,
    reject_kinds: Kinds,
    source: InputRecord,
    *,
    columns: Kinds,
    started: float,
    round: int = 0,
    usage: Mapping[str, float] | None = None,
    elsewhere: int = 0,
    fits: Mapping[int, str] | None = None,
    commits: Mapping[str, str] | None = None,
    loading: float = 0.0,
    tidy: bool = True,
    current: CurrentPlan | None = None,
) -> Manifest:
    """Put rejects and manifest beside the part that `attempt` has staged, and publish them; returns the manifest.

    Without `tidy`, the caller removes what other attempts have left. With `current`, nothing is published that is not planned.
    """
    files = run.files(stage, shard)
    staged = files.staged(attempt)
    write_frame(rejects, reject_kinds, staged.rejects, "csv")
    seconds = math.ceil((time.time() - started) * 1000) / 1000
    manifest = Manifest(
        stage=stage,
        shard=shard,
        num_shards=files.count,
        rows_in=counts.rows_in,
        rows_out=counts.rows_out,
        lines_out=counts.lines_out,
        rejected=rejects.height,
        reasons=dict(sorted(Counter(rejects["reason"].to_list()).items())),
        columns=dict(columns),
        part=_durable(staged.part, files.part),
        rejects=_durable(staged.rejects, files.rejects),
        input=source,
        fingerprint=run.fingerprint(stage),
        revision=run.stage_revision(stage),
        accepted_code=run.accepted_code(stage),
        round=round,
        usage=dict(usage or {}),
        elsewhere=elsewhere,
        fits=dict(fits or {}),
        commits=dict(commits or {}),
        started=_time(started),
        finished=_time(time.time()),
        seconds=seconds,
        loading=loading,
        host=socket.gethostname(),
        attempt=attempt,
        code_version=__version__,
        job={name: os.environ[name] for name in JOB_VARIABLES if name in os.environ},
    )
    write_durably(staged.manifest, manifest.to_bytes())
    if current is None:
        return publish(files, attempt, run.superseded / stage, tidy=tidy)[0]
    try:
        current.check()
        published = publish(files, attempt, run.superseded / stage, tidy=tidy)[0]
        current.check()  # the plan may have changed since: then whoever changed it did not see these files yet
    except PlanChanged:
        withdraw(files, attempt, run.superseded / stage)
        raise
    return published


def _durable(path: Path, final: Path) -> FileRecord:
    """The record of a staged file, which is made durable first."""
    sync_file(path)
    return FileRecord(name=final.name, sha256=file_digest(path), bytes=path.stat().st_size)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def check_conservation(table: pl.DataFrame, out: pl.DataFrame, rejects: pl.DataFrame, keys: list[str]) -> None:
    """Every row that went in came out or was rejected, and not both; several rows of one have a sub_id each.

    Raises Unconserved naming a row.
    """
    came_in, came_out, refused = table.select(keys), out.select(keys).unique(), rejects.select(keys)
    lost = came_in.join(pl.concat([came_out, refused]), on=keys, how="anti")
    both = came_out.join(refused, on=keys, how="semi")
    doubled = refused.filter(refused.is_duplicated())
    foreign = pl.concat([came_out, refused]).join(came_in, on=keys, how="anti")
    named = out.select(name for name in ("row_id", "sub_id") if name in out.columns)
    for what, rows in (
        ("neither out nor rejected", lost),
        ("both out and rejected", both),
        ("rejected twice", doubled),
        ("out twice with the same ids", named.filter(named.is_duplicated())),
        ("not in the input", foreign),
    ):
        if rows.height:
            raise ConservationError(f"{rows.height} rows are {what}, such as {rows.row(0, named=True)}; nothing was published")


def _from_journals(
    files: ShardFiles, digests: Collection[str], keys: Mapping[str, Kind], adds: Mapping[str, Kind], table: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, float]]:
    """What the stage adds, by key, the rejects, and what all of it cost, from all journals of the shard."""
    known = set(table.select(list(keys)).iter_rows())
    rows, rejects = GrowingFrame({**keys, **adds}), GrowingFrame({**keys, **REJECTS})
    usage: Counter[str] = Counter(dict.fromkeys(USAGE, 0))
    for record in read_records(files.journals(), digests):
        if record.key not in known:
            continue
        key = dict(zip(keys, record.key, strict=True))
        usage.update(record.usage or {})
        if record.reject is not None:
            rejects.add({**key, **record.reject})
        for row in record.rows or []:
            rows.add({**row, **key})
    return rows.to_frame(), rejects.to_frame(), {name: round(value, 3) for name, value in usage.items()}


def _from_transform(
    result: pl.DataFrame, keys: Mapping[str, Kind], adds: Mapping[str, Kind]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same from the frame of a table stage."""
    accepted = result.filter(pl.col("reject_reason").is_null()).select(
        *keys, *(pl.col(name).cast(DTYPES[kind]) for name, kind in adds.items() if name not in keys)
    )
    rejects = result.filter(pl.col("reject_reason").is_not_null()).select(
        *keys,
        pl.col("reject_reason").alias("reason"),
        pl.lit("").alias("detail"),
        pl.lit("").alias("raw"),
        pl.lit(0, pl.Int64).alias("attempts"),
    )
    return accepted, rejects
