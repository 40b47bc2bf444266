"""The trace of one row: accepted, rejected, in the journal of a shard under way, waiting, or never reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import StageOutcome, explain
from shardmill.util.errors import Stopped, UserError

MakeRun = Callable[..., RunFolder]


def outcome_of(run: RunFolder, row_id: int, stage: str) -> StageOutcome:
    return next(found for found in explain(run, row_id) if found.stage == stage)


@pytest.mark.parametrize("part_format", ["csv", "jsonl", "parquet"])
def test_each_stage_tells_what_it_added(make_run: MakeRun, part_format: str) -> None:
    run = make_run(num_shards=2, part_format=part_format)
    for stage in run.stages:
        for shard in range(2):
            run_shard(run, stage, shard)
    outcomes = explain(run, 40)
    assert [found.stage for found in outcomes] == ["ingest", *run.stages]
    assert {found.outcome for found in outcomes} == {"accepted"}
    added = {name for found in outcomes for row in found.rows for name in row}
    assert {"row_id", "caption", "objects", "negatives", "caption_0", "paraphrase_3", "negative_captions"} <= added
    assert outcomes[1].rows[0].keys() == {"objects"} and isinstance(outcomes[1].rows[0]["objects"], list)


def test_rows_of_a_shard_under_way_are_in_the_journal_or_waiting(make_run: MakeRun) -> None:
    run = make_run(num_shards=1)
    looks = iter(range(1000))
    with pytest.raises(Stopped):
        run_shard(run, "extract_objects", 0, should_stop=lambda: next(looks) > 24)
    assert outcome_of(run, 0, "extract_objects").outcome == "in the journal"
    assert outcome_of(run, 0, "extract_objects").rows == [{"objects": ["dog", "beach", "ball"]}]
    assert outcome_of(run, 7, "extract_objects").rows[0]["reason"] == "the model named none"
    assert outcome_of(run, 54, "extract_objects").outcome == "waiting"
    assert outcome_of(run, 54, "propose_negatives").outcome == "not reached"


def test_a_rejected_row_ends_there_on_every_branch(make_run: MakeRun) -> None:
    run = make_run(num_shards=1)
    for stage in run.stages:
        run_shard(run, stage, 0)
    outcomes = {found.stage: found.outcome for found in explain(run, 11)}
    assert outcomes.pop("ingest") == "rejected"
    assert set(outcomes.values()) == {"not reached"}
    assert outcome_of(run, 11, "ingest").rows[0]["reason"] == "empty caption"


def test_rows_outside_of_the_input_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    for row_id in (-1, 60):
        with pytest.raises(UserError, match=f"there is no row {row_id}: the input has the rows 0 to 59"):
            explain(run, row_id)


@pytest.mark.parametrize("what", ["part", "rejects"])
def test_a_damaged_file_is_named_instead_of_read(make_run: MakeRun, what: str) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    path: Path = getattr(run.files("extract_objects", 0), what)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{path.name} does not match its manifest"):
        explain(run, 7)
