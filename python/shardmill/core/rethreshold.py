"""Applying other thresholds to detections that were kept, without the detector."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from shardmill.core.model_stages import DetectStage, read_detections
from shardmill.core.plan_changes import plan_of_today, redo
from shardmill.core.shard_runner import open_stage, run_shard
from shardmill.core.stage import Answer, FollowUp, ModelCall, Reject
from shardmill.store.cells import decode, dump_cell, parse_json_cell
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.journal import Journal, JournalHeader, JournalRecord, read_records
from shardmill.store.manifest import Manifest
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder, rows_digest
from shardmill.store.shard import Shard
from shardmill.util.atomic import new_attempt
from shardmill.util.errors import UserError

COLUMN = "detections"


@dataclass(frozen=True)
class Rethresholded:
    """Of the finished shards how many rows came out and were rejected before and after; and the shards that go to the detector
    again, for rows that have no detections or that it has not seen yet.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    again: list[int]


@one_change_at_a_time
def rethreshold(run: RunFolder, name: str, settings: Sequence[str]) -> tuple[RunFolder, Rethresholded]:
    """Apply other options to all finished rows of a detection stage; what later stages have made is archived.

    Rows are judged by the detections in their `detections` column, rejected ones by those in their `raw` text. Rows without
    any, and those that were not finished yet, are left for the detector. Nothing may be running on
    the run meanwhile. Raises UserError for another kind of stage and when anything but options would change.
    """
    short = run.stage(name).name
    kind = type(open_stage(run, short))
    if not issubclass(kind, DetectStage) or COLUMN not in kind.adds:
        raise UserError(
            f"{short} keeps no detections; rethreshold is for stages that decide by a detector. Change other stages "
            f"with: shardmill run {run.path} {short} --redo --set {short}.OPTION=VALUE"
        )
    planned = next(stage for stage in plan_of_today(run, short, settings).stages if stage.name == short)
    old = run.stage(short).fingerprint
    changed = [
        field for field in sorted(old.keys() | planned.fingerprint.keys()) if old.get(field) != planned.fingerprint.get(field)
    ]
    if not changed:
        raise UserError(f"these are the thresholds that {short} already has; set others with --set {short}.OPTION=VALUE")
    if changed != ["options"]:
        other = next(field for field in changed if field != "options")
        raise UserError(f"{other} of {short} changed too, so the detector is needed: shardmill run {run.path} {short} --redo")
    stage = kind(planned.options, open_stage(run, short).context)
    done = {shard: manifest for shard in range(run.num_shards) if (manifest := run.manifest(short, shard)) is not None}
    before = sum(each.rows_out for each in done.values()), sum(each.rejected for each in done.values())
    whole = {shard for shard in range(run.num_shards) if _apply_options(run, stage, planned, shard, done.get(shard))}
    run = redo(run, short, settings, keep_journals=True)
    made = [run_shard(run, short, shard) for shard in sorted(whole & done.keys())]
    after = sum(each.rows_out for each in made), sum(each.rejected for each in made)
    begun = {shard for shard in range(run.num_shards) if run.files(short, shard).journals()}
    return run, Rethresholded(before, after, sorted((done.keys() | begun) - (whole & done.keys())))


def _apply_options(run: RunFolder, stage: DetectStage, planned: StagePlan, shard: int, manifest: Manifest | None) -> bool:
    """Write the new decisions of a shard into a journal, for the worker to finish; False if some row has no detections.

    Without a manifest the rows are those that interrupted attempts have left in their journals.
    """
    files = run.files(planned.name, shard)
    if manifest is None and not files.journals():
        return False
    rows = _input_rows(run, stage, planned, shard)
    if manifest is not None:
        left = Shard(run, planned.name, shard).records(manifest)
    else:
        left = read_records(files.journals(), run.digests(planned.name))
    whole = True
    path = files.journal(new_attempt())
    with closing(
        Journal(path, JournalHeader(rows_digest(planned.fingerprint, planned.revision), manifest.round if manifest else 0))
    ) as journal:
        for record in left:
            try:
                journal.append(_judged(stage, rows[record.key], record))
            except ValueError:
                whole = False
    return whole


def _input_rows(run: RunFolder, stage: DetectStage, planned: StagePlan, shard: int) -> dict[tuple[int, ...], dict[str, Any]]:
    table, _ = Shard(run, planned.name, shard).read_input()
    kinds = run.kinds(planned.after)
    keys = [name for name in ("row_id", "sub_id") if name in table.columns]
    names = [*keys, *(name for name in stage.reads if name not in keys)]
    rows = [
        {name: decode(value, kinds[name]) for name, value in row.items()} for row in table.select(names).iter_rows(named=True)
    ]
    return {tuple(row[name] for name in keys): row for row in rows}


def _judged(stage: DetectStage, row: dict[str, Any], record: JournalRecord) -> JournalRecord:
    """The record as `stage` decides now. Raises ValueError when it has no detections."""
    answers = [_answer(ask, record) for ask in stage.ask(row, Random(0))]
    outcome = stage.accept(row, answers)
    assert not isinstance(outcome, FollowUp), f"{stage.name} both asks a detector twice and keeps its detections"
    if not isinstance(outcome, Reject):
        return replace(record, rows=[outcome] if isinstance(outcome, dict) else outcome, reject=None)
    attempts = max((answer.attempts for answer in answers), default=0)
    raw = "\n".join(answer.raw for answer in answers)
    return replace(
        record, rows=None, reject={"reason": outcome.reason, "detail": outcome.detail, "raw": raw, "attempts": attempts}
    )


def _answer(ask: ModelCall, record: JournalRecord) -> Answer:
    """What the detector answered, from the finished row."""
    if record.reject is not None:
        raw, attempts = record.reject["raw"], record.reject["attempts"]
        if not raw:
            return Answer(ask, None, record.reject["reason"], record.reject["detail"], "", attempts)
        return Answer(ask, read_detections(parse_json_cell(raw)), None, "", raw, attempts)
    assert record.rows is not None
    cell = record.rows[0][COLUMN]
    if not cell:
        return Answer(ask, None, "unreadable image", "it was kept unchecked before")
    return Answer(ask, read_detections(cell), None, "", dump_cell(cell))
