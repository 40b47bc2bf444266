"""What a run will take, against figures worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch.estimate import estimate, probe
from shardmill.launch.rates import expected_rows, stage_rates, typical_shard
from shardmill.launch.site import Site
from shardmill.shards.run_folder import INGEST, RunFolder
from shardmill.worker import run_shard

FIRST = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    """Eight shards of ten rows."""
    table = tmp_path / "captions.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(80)))
    return make_run(input=table, num_shards=8)


def took(run: RunFolder, stage: str, shard: int, seconds: float) -> None:
    """Make a manifest say how long its shard took."""
    path = run.files(stage, shard).manifest
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "seconds": seconds}))


def test_rates_are_sums_over_the_finished_shards(run: RunFolder) -> None:
    for shard, seconds in ((0, 10.0), (1, 30.0)):
        run_shard(run, FIRST, shard)
        took(run, FIRST, shard, seconds)
    rate = stage_rates(run)[FIRST]
    assert (rate.shards, rate.rows, rate.seconds_per_row) == (2, 20, 2.0)
    assert (rate.fast, rate.slow, rate.passed) == (1.0, 3.0, 1.0)
    files = run.files(FIRST, 0), run.files(FIRST, 1)
    assert rate.bytes_per_row * 20 == sum(each.part.stat().st_size + each.rejects.stat().st_size for each in files)
    assert list(stage_rates(run)) == [FIRST]


def test_rows_of_a_stage_are_what_those_before_it_let_through(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    for stage in run.stages:
        run_shard(run, stage, 0)
    rates = stage_rates(run)
    rows = expected_rows(run, rates, run.num_shards)
    ingested = sum(run.manifest(INGEST, shard).lines_out for shard in range(4))  # type: ignore[union-attr]
    assert rows[FIRST] == ingested
    first = run.manifest(FIRST, 0)
    assert first is not None and rows["propose_negatives"] == round(ingested * first.lines_out / first.rows_in)
    assert rows["create_mcq"] == rows["caption_negated"]  # both read validate_objects


def test_hours_and_gpu_hours_of_a_cluster(run: RunFolder) -> None:
    run_shard(run, FIRST, 0)
    took(run, FIRST, 0, 3600.0)  # an hour for ten rows
    site = Site(name="mine", stages={FIRST: {"gpus_per_worker": 2, "minutes": 600}})
    made = estimate(run, site, stage_rates(run), max_parallel=1)
    stage = made.stages[0]
    assert stage.worker_hours == 8
    assert stage.workers_per_node == 4
    assert stage.gpu_hours == 16  # eight shards on four workers: two hours of eight GPUs
    assert stage.minutes_per_element == 120
    assert (made.nodes, made.hours) == (1, 2)
    assert made.unmeasured == run.stages[1:]


def test_a_node_is_held_by_all_workers_until_the_last_shard_of_a_group_is_done(run: RunFolder) -> None:
    run_shard(run, FIRST, 0)
    took(run, FIRST, 0, 3600.0)
    site = Site(name="mine", cpu_workers_per_node=5, stages={stage: {"gpus_per_worker": 1} for stage in run.stages})
    site.gpus_per_node = 5
    stage = estimate(run, site, stage_rates(run), None).stages[0]
    assert stage.worker_hours == 8
    assert stage.gpu_hours == 10  # five shards on five GPUs, then three shards on five GPUs: an hour each


def test_more_nodes_make_it_shorter_up_to_one_group_each(run: RunFolder) -> None:
    run_shard(run, FIRST, 0)
    took(run, FIRST, 0, 3600.0)
    site = Site(name="mine", cpu_workers_per_node=2)
    hours = [estimate(run, site, stage_rates(run), nodes).hours for nodes in (1, 2, 4, 8)]
    assert hours == [4, 2, 1, 1]


def test_the_advice_is_a_shard_of_ten_to_thirty_minutes(run: RunFolder) -> None:
    run_shard(run, FIRST, 0)
    took(run, FIRST, 0, 7200.0)
    made = estimate(run, None, stage_rates(run), None)
    assert any("--rows-per-shard 2" in note for note in made.notes)
    there = estimate(run, Site(name="mine"), stage_rates(run), None)
    assert any("longer than its 60 minutes" in note for note in there.notes)
    took(run, FIRST, 0, 1200.0)
    assert not any("replan" in note for note in estimate(run, None, stage_rates(run), None).notes)


def test_what_is_not_known_is_said(run: RunFolder) -> None:
    made = estimate(run, None, stage_rates(run), None)
    assert made.stages == []
    assert made.unmeasured == run.stages
    run_shard(run, FIRST, 0)
    assert any("measured on one shard" in note for note in estimate(run, None, stage_rates(run), None).notes)


def test_a_probe_runs_one_typical_shard_and_nothing_twice(run: RunFolder) -> None:
    shard = typical_shard(run)
    assert shard is not None
    assert probe(run) == run.stages
    assert all(run.is_complete(stage, shard) for stage in run.stages)
    assert probe(run) == []
