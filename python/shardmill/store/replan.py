"""Changing the number of shards of a run: finished rows are kept by row_id, only their files are cut anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import polars as pl

from shardmill.store.at_work import keeping_workers_out
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.finish import ShardCounts, seal
from shardmill.store.frames import read_frame, write_frame
from shardmill.store.journal import Journal, JournalHeader, JournalRecord, read_header, read_records
from shardmill.store.layout import INGEST_REJECTS
from shardmill.store.manifest import InputRecord
from shardmill.store.plan import cut, replace_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.shard import Shard
from shardmill.store.verify import check_lineage, refuse
from shardmill.util.atomic import new_attempt, set_aside
from shardmill.util.errors import UserError
from shardmill.util.words import count_of


@one_change_at_a_time
def replan(run: RunFolder, *, num_shards: int | None = None, rows_per_shard: int | None = None) -> RunFolder:
    """Cut a run into another number of shards. No worker is let in meanwhile.

    New ingest parts and, for every stage, journals with the finished rows are written beside the old files under the new
    names; then the plan changes; then the old files move to `superseded/`. Cut off at any point, it can be run again.

    Raises:
        UserError: A worker is at work, ingest is not finished, or a shard is of another plan.
    """
    with keeping_workers_out(run):
        return _replan(run, num_shards, rows_per_shard)


def sweep(run: RunFolder) -> None:
    """Remove what a replan that was killed, or a worker that did not see it yet, has left of another number of shards."""
    if any(_of_other_counts(run)):
        _sweep_alone(run)


@one_change_at_a_time
def _sweep_alone(run: RunFolder) -> None:
    _swept(run)


def _replan(run: RunFolder, num_shards: int | None, rows_per_shard: int | None) -> RunFolder:
    _swept(run)
    shards = cut(run.plan.input.rows, num_shards=num_shards, rows_per_shard=rows_per_shard)
    if shards == run.plan.shards:
        raise UserError(f"{run.path} has {count_of(len(shards), 'shard')} already")
    if len(shards) == run.num_shards:
        raise UserError(f"{len(shards)} shards with other bounds would get the names of the old ones; choose another number")
    refuse(run, check_lineage(run, [INGEST, *run.stages], depth="origin"), allow_missing=True)
    new = RunFolder(run.path)
    new.__dict__["plan"] = run.plan.model_copy(update={"shards": shards})
    for shard in range(run.num_shards):
        run.read_part(INGEST, shard)
    for shard in range(new.num_shards):
        _discard(new, shard)
        _recut_ingest(run, new, shard)
        for stage in run.plan.stages:
            if stage.model:  # table stages are made again in seconds
                _keep_rows(run, new, stage.name, shard)
    replace_plan(run.path, new.plan)
    return _swept(RunFolder(run.path))


def _swept(run: RunFolder) -> RunFolder:
    """Move the files of other shard counts away: parts to `superseded/`, what attempts left to nowhere."""
    for path in _of_other_counts(run):
        if path.suffix in (".json", f".{run.plan.part_format}", ".csv"):
            set_aside(path, run.superseded / path.parent.name)
        else:
            path.unlink(missing_ok=True)
    return run


def _of_other_counts(run: RunFolder) -> Iterator[Path]:
    """The files of shards, and the leases on them, that are of another number of shards."""
    for stage in [INGEST, *run.stages]:
        files = run.files(stage, 0)
        for folder in (files.folder, files.leases_folder):
            yield from (path for path in folder.glob("part-*-of-*") if f"-of-{run.num_shards:05d}." not in path.name)


def _discard(new: RunFolder, shard: int) -> None:
    """Remove what an earlier replan that was cut off left under the new names."""
    for stage in [INGEST, *new.stages]:
        files = new.files(stage, shard)
        for path in (files.manifest, files.rejects, files.part, *files.temporaries()):
            path.unlink(missing_ok=True)


def _sources(run: RunFolder, new: RunFolder, shard: int) -> list[int]:
    """The old shards that share rows with a new one."""
    start, end = new.plan.shards[shard]
    return [index for index, (first, last) in enumerate(run.plan.shards) if first < end and start < last]


def _recut_ingest(run: RunFolder, new: RunFolder, shard: int) -> None:
    start, end = new.plan.shards[shard]
    inside = pl.col("row_id").is_between(start, end, closed="left")
    old = _sources(run, new, shard)
    format = run.plan.part_format
    kinds = run.kinds(INGEST)
    part = pl.concat([read_frame(run.files(INGEST, index).part, kinds, format) for index in old]).filter(inside)
    rejects = pl.concat([_ingest_rejects(run, index) for index in old]).filter(inside)
    attempt, started = new_attempt(), time.time()
    write_frame(part, kinds, new.files(INGEST, shard).staged(attempt).part, format)
    counts = ShardCounts(end - start, part.height, part.height)
    source = InputRecord(stage="input", sha256=run.plan.input.sha256)
    seal(new, INGEST, shard, attempt, counts, rejects, INGEST_REJECTS, source, columns=kinds, started=started)


def _ingest_rejects(run: RunFolder, shard: int) -> pl.DataFrame:
    manifest = run.manifest(INGEST, shard)
    assert manifest is not None, "checked before anything is cut"
    return run.read_rejects(INGEST, shard, manifest, INGEST_REJECTS)


def _keep_rows(run: RunFolder, new: RunFolder, stage: str, shard: int) -> None:
    """Journals of the new shard with the finished rows of a stage, one per round of asking."""
    start, end = new.plan.shards[shard]
    journals: dict[int, Journal] = {}
    digest = Shard(new, stage, shard).digest
    with ExitStack() as stack:
        for old in _sources(run, new, shard):
            for round, records in _finished(run, stage, old):
                for record in records:
                    if start <= record.key[0] < end:
                        if round not in journals:
                            journal = Journal(new.files(stage, shard).journal(new_attempt()), JournalHeader(digest, round))
                            journals[round] = stack.enter_context(closing(journal))
                        journals[round].append(record)


def _finished(run: RunFolder, stage: str, shard: int) -> Iterator[tuple[int, Iterator[JournalRecord]]]:
    """The finished rows of an old shard by round: from its part, or from its journals when it was not complete."""
    manifest = run.manifest(stage, shard)
    if manifest is not None and run.accepts(stage, manifest):
        yield manifest.round, Shard(run, stage, shard).records(manifest)
        return
    files = run.files(stage, shard)
    journals = files.journals()
    rounds = [header.round for path in journals if (header := read_header(path)) is not None]
    yield max(rounds, default=0), read_records(journals, run.digests(stage))
