"""Opening a finished shard again without losing its rows: its part becomes a journal, and the worker goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain, groupby
from typing import Any

import polars as pl

from shardmill.store.atomic import new_attempt
from shardmill.store.cells import Kind, decode
from shardmill.store.journal import Journal, JournalHeader, JournalRecord, read_records
from shardmill.store.manifest import Manifest
from shardmill.store.publish import archive_files, standing
from shardmill.store.run_folder import RunFolder, digest_of
from shardmill.util.errors import UserError


class ShardReopened(Exception):
    """Another worker has opened the shard meanwhile, or finished it anew."""


def finished_records(
    run: RunFolder, stage: str, shard: int, manifest: Manifest, *, rejects: bool = True
) -> Iterator[JournalRecord]:
    """The rows of a finished shard as journal records, in order; without its rejects if so asked.

    What the shard cost is laid on them in equal shares, so that the shard that they go into counts it too.
    Raises UserError when its files are not what the manifest says: damage must not pass into a journal.
    """
    part, _ = run.read_part(stage, shard)
    adds = run.stage(stage).adds
    keys = _keys(run, stage)
    names = [*keys, *(name for name in adds if name not in keys)]
    records = manifest.rows_in - (0 if rejects else manifest.rejected)
    share = {name: value / max(records, 1) for name, value in manifest.usage.items() if value}
    for key, rows in groupby(part.select(names).iter_rows(named=True), key=lambda row: tuple(row[name] for name in keys)):
        yield JournalRecord(key, rows=[_values(row, adds) for row in rows], usage=share)
    if rejects:
        kinds: dict[str, Kind] = {
            **dict.fromkeys(keys, "int"),
            "reason": "text",
            "detail": "text",
            "raw": "text",
            "attempts": "int",
        }
        refused = run.read_rejects(stage, shard, manifest, kinds).with_columns(pl.col("detail", "raw").fill_null(""))
        for row in refused.iter_rows(named=True):
            yield JournalRecord(tuple(row.pop(name) for name in keys), reject=row, usage=share)


def _keys(run: RunFolder, stage: str) -> list[str]:
    """The columns that key the rows which the stage reads."""
    above = run.kinds(run.stage(stage).after)
    return [name for name in ("row_id", "sub_id") if name in above]


def _values(row: dict[str, Any], adds: dict[str, Kind]) -> dict[str, Any]:
    return {name: decode(row[name], kind) for name, kind in adds.items()}


def reopen_stale(run: RunFolder, stage: str, shard: int, manifest: Manifest) -> None:
    """Open a shard whose input part has got more rows since; all its rows are kept and only the new ones will be asked.

    Raises Changed where another worker does so too, and was faster.
    """
    try:
        _reopen(run, stage, shard, manifest, rejects=True, round=manifest.round)
    except (UserError, FileNotFoundError):  # its files are not those of the manifest: are they another's by now?
        now = run.manifest(stage, shard)
        if now is None or now.attempt != manifest.attempt:
            raise ShardReopened from None
        raise


def reopen_rejected(run: RunFolder, stage: str, shard: int, manifest: Manifest) -> int:
    """Open a shard so that its rejected rows are asked again, with new seeds. Returns how many those are."""
    if not manifest.rejected:
        return 0
    try:
        _reopen(run, stage, shard, manifest, rejects=False, round=manifest.round + 1)
    except ShardReopened:
        return 0
    return manifest.rejected


def _reopen(run: RunFolder, stage: str, shard: int, manifest: Manifest, *, rejects: bool, round: int) -> None:
    files = run.files(stage, shard)
    seen, now = standing(files), run.manifest(stage, shard)
    if now is None or now.attempt != manifest.attempt:
        raise ShardReopened
    with closing(Journal(files.journal(new_attempt()), JournalHeader(digest_of(manifest.fingerprint), round))) as journal:
        for record in finished_records(run, stage, shard, manifest, rejects=rejects):
            journal.append(record)
    archive_files(files, run.superseded / stage, seen)


def keep_rows(run: RunFolder, stage: str, shard: int, fingerprint: str) -> None:
    """Write what a shard's rows that came out hold into a journal of the new `fingerprint`, for a stage that is asked for more.

    The rows of an unfinished shard are those in its journals. Only stages that make one row of each take part.
    """
    files, manifest = run.files(stage, shard), run.manifest(stage, shard)
    if manifest is not None:
        records = finished_records(run, stage, shard, manifest, rejects=False)
    else:
        records = read_records(files.journals(), run.digests(stage))
    rows = ((record.key, record.rows[0]) for record in records if record.rows and len(record.rows) == 1)
    first = next(rows, None)
    if first is not None:
        with closing(Journal(files.journal(new_attempt()), JournalHeader(fingerprint))) as journal:
            for key, row in chain([first], rows):
                journal.append(JournalRecord(key, kept=row))
