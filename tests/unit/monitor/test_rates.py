"""What finished shards tell of a stage, against figures worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import run_first_shards, run_of_text_stages
from shardmill.core.shard_runner import run_shard
from shardmill.monitor.rates import expected_rows, expected_shards, stage_rates, typical_shard
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.shard import Shard
from shardmill.util.errors import Stopped

FIRST = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    """Eight shards of ten rows."""
    table = tmp_path / "captions.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(80)))
    return make_run(input=table, num_shards=8)


def change_manifest(run: RunFolder, stage: str, shard: int, **values: Any) -> None:
    """Make a manifest say something else."""
    path = run.files(stage, shard).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def finish(run: RunFolder, shard: int, seconds: float, **values: Any) -> None:
    run_shard(run, FIRST, shard)
    change_manifest(run, FIRST, shard, seconds=seconds, **values)


def test_rates_are_sums_over_the_finished_shards(run: RunFolder) -> None:
    for shard, seconds in ((0, 10.0), (1, 30.0), (2, 80.0)):
        finish(run, shard, seconds)
    rate = stage_rates(run)[FIRST]
    assert (rate.shards, rate.rows, rate.seconds_per_row) == (3, 30, 4.0)
    assert (rate.fast, rate.typical, rate.slow) == (1.0, 3.0, 8.0)
    assert rate.spread == 8.0 / 3.0
    assert (rate.passed, rate.kept) == (1.0, 1.0)
    files = [run.files(FIRST, shard) for shard in range(3)]
    assert rate.bytes_per_row == sum(each.part.stat().st_size + each.rejects.stat().st_size for each in files) / 30


def test_a_stage_without_a_finished_shard_has_no_rate_and_one_shard_has_no_spread(run: RunFolder) -> None:
    assert stage_rates(run) == {}
    finish(run, 0, 10.0)
    assert list(stage_rates(run)) == [FIRST]
    assert stage_rates(run)[FIRST].spread is None


def test_an_interrupted_shard_is_not_timed_since_its_manifest_has_the_last_attempt_only(run: RunFolder) -> None:
    calls = iter([False] * 12 + [True] * 1000)
    with pytest.raises(Stopped):
        run_shard(run, FIRST, 0, should_stop=lambda: next(calls))
    made = run_shard(run, FIRST, 0)
    assert 0 < made.elsewhere < 10
    assert made.usage["requests"] == 10
    change_manifest(run, FIRST, 0, seconds=0.001)
    for shard in (1, 2):
        finish(run, shard, 20.0)
    rate = stage_rates(run)[FIRST]
    assert (rate.shards, rate.rows, rate.fast) == (2, 20, 2.0)


def test_a_shard_opened_again_for_its_rejects_is_not_timed_and_still_counts_for_what_goes_on(
    make_run: Callable[..., RunFolder],
) -> None:
    run = make_run()
    for shard in (0, 1):
        finish(run, shard, 26.0)
    before = stage_rates(run)[FIRST]
    first = run.manifest(FIRST, 0)
    assert first is not None and Shard(run, FIRST, 0).reopen_rejected(first) > 0
    finish(run, 0, 0.001)
    after = stage_rates(run)[FIRST]
    second = run.manifest(FIRST, 1)
    assert second is not None and (after.shards, after.seconds_per_row) == (1, 26.0 / second.rows_in)
    assert (after.passed, after.kept) == (before.passed, before.kept)


def test_what_a_first_shard_takes_on_top_is_the_start_of_its_worker(run: RunFolder) -> None:
    for shard, worker, seconds in ((0, "0", 70.0), (1, "0", 20.0), (2, "0", 20.0), (3, "1", 70.0)):
        finish(run, shard, seconds, job={"SLURM_JOB_ID": "7", "SLURM_PROCID": worker})
    rate = stage_rates(run)[FIRST]
    assert rate.startup == 50.0  # 70 seconds, of which ten rows of 2 seconds
    assert (rate.seconds_per_row, rate.fast, rate.slow) == (2.0, 2.0, 2.0)


def test_without_a_worker_that_did_several_shards_the_start_is_not_known(run: RunFolder) -> None:
    finish(run, 0, 70.0, job={"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"})
    finish(run, 1, 30.0, job={"SLURM_JOB_ID": "7", "SLURM_PROCID": "1"})
    finish(run, 2, 50.0)
    rate = stage_rates(run)[FIRST]
    assert (rate.startup, rate.seconds_per_row) == (None, 5.0)


def test_rows_of_a_stage_are_what_those_before_it_let_through(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    run_first_shards(run)
    rows = expected_rows(run, stage_rates(run), run.num_shards)
    ingested = sum(run.manifest(INGEST, shard).lines_out for shard in range(4))  # type: ignore[union-attr]
    done = [run.manifest(FIRST, shard) for shard in range(4)]
    kept = sum(each.lines_out for each in done if each is not None)
    assert 0 < kept < ingested
    assert rows[FIRST] == ingested
    assert rows["propose_negatives"] == kept
    assert rows["create_mcq"] == rows["caption_negated"]  # both read validate_objects


def test_the_rows_of_a_run_that_is_finished_are_exact(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    for stage in run.stages:
        for shard in range(4):
            run_shard(run, stage, shard)
    made = {stage: [run.manifest(stage, shard) for shard in range(4)] for stage in run.stages}
    exact = {stage: sum(each.rows_in for each in each_shard if each is not None) for stage, each_shard in made.items()}
    assert expected_rows(run, stage_rates(run), 4) == exact


def test_a_target_needs_as_many_shards_as_the_rates_say(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(80)))
    run = make_run(input=table, num_shards=8, target_rows=25, settings=["create_mcq.style=original"])
    assert expected_shards(run, stage_rates(run)) == 8  # nothing is known
    run_first_shards(run)
    kept = {leaf: run.manifest(leaf, 0).rows_out for leaf in run.leaves()}  # type: ignore[union-attr]
    assert set(kept.values()) == {10}
    assert expected_shards(run, stage_rates(run)) == 3


def test_the_typical_shard_is_the_unfinished_one_of_median_size(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    empty = {0: 8, 1: 4, 2: 6}  # rows without a caption by shard: 2, 6, 4, 10 rows are left
    lines = ["" if row % 10 < empty.get(row // 10, 0) else f"A dog and a cat in room {row}." for row in range(40)]
    table.write_text("caption,source\n" + "".join(f"{line},test\n" for line in lines))
    run = run_of_text_stages(tmp_path, table, 4)
    assert [run.manifest(INGEST, shard).lines_out for shard in range(4)] == [2, 6, 4, 10]  # type: ignore[union-attr]
    assert typical_shard(run) == 1
    for stage in run.stages:
        run_shard(run, stage, 1)
    assert typical_shard(run) == 2


def test_a_shard_that_was_begun_is_measured_only_if_there_is_no_other(run: RunFolder, tmp_path: Path) -> None:
    run = run_of_text_stages(tmp_path, Path(run.plan.input.path), 8)
    begun = typical_shard(run)
    assert begun is not None
    calls = iter([False] * 12 + [True] * 1000)
    with pytest.raises(Stopped):
        run_shard(run, FIRST, begun, should_stop=lambda: next(calls))
    assert typical_shard(run) not in (None, begun)
    for shard in set(range(8)) - {begun}:
        for stage in run.stages:
            run_shard(run, stage, shard)
    assert typical_shard(run) == begun
