"""What a run will take, against figures worked out by hand."""

from __future__ import annotations

import io
import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from conftest import run_of_text_stages
from scripted_slurm import ScriptedSlurm
from shardmill.core.shard_runner import run_shard
from shardmill.launch.site import Site
from shardmill.monitor.estimate import Estimate, estimate, makespan, probe
from shardmill.monitor.estimate_view import render
from shardmill.monitor.rates import stage_rates, typical_shard
from shardmill.store.jobs import JobsFolder, Submission
from shardmill.store.run_folder import RunFolder

FIRST, SECOND = "extract_objects", "propose_negatives"


@pytest.fixture
def run(make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    """Eight shards of ten rows."""
    table = tmp_path / "captions.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(80)))
    return make_run(input=table, num_shards=8)


def finish(run: RunFolder, stage: str, shard: int, seconds: float) -> None:
    """Do a shard, and have its manifest say how long it took."""
    run_shard(run, stage, shard)
    path = run.files(stage, shard).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))


def estimate_of(run: RunFolder, site: Site | None = None, max_parallel: int | None = None) -> Estimate:
    return estimate(run, site, stage_rates(run), max_parallel)


def text(made: Estimate) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(made))
    return console.export_text()


def test_hours_and_gpu_hours_of_a_cluster(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)  # an hour for ten rows
    made = estimate_of(run, Site(name="mine", stages={FIRST: {"gpus_per_worker": 2, "minutes": 600}}), 1)
    stage = made.stages[0]
    assert (stage.rows, stage.worker_hours, stage.workers_per_node) == (80, 8, 4)
    assert (stage.gpu_hours, stage.gpu_hours_busy) == (16, 16)  # eight shards on four workers: two hours of eight GPUs
    assert (stage.node_hours, stage.hours_alone, stage.minutes_per_element) == (2, 2, 120)
    assert (made.nodes, made.hours, made.gpu_hours) == (1, 2, 16)
    assert made.unmeasured == run.stages[1:]


def test_a_node_is_held_by_all_workers_until_the_last_shard_of_a_group_is_done(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    site = Site(name="mine", gpus_per_node=5, cpu_workers_per_node=5, stages={FIRST: {"gpus_per_worker": 1}})
    made = estimate_of(run, site)
    assert (made.elements, made.shards_per_element) == (2, 5)
    stage = made.stages[0]
    assert stage.gpu_hours == 10  # five shards on five GPUs, then three shards on five GPUs: an hour each
    assert stage.gpu_hours_busy == stage.worker_hours == 8


def test_more_nodes_make_it_shorter_up_to_one_group_each(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    site = Site(name="mine", cpu_workers_per_node=2)
    assert [estimate_of(run, site, nodes).hours for nodes in (1, 2, 3, 4, 8)] == [4, 2, 2, 1, 1]


def test_no_more_nodes_are_used_than_the_cluster_has(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(run, FIRST, 0, 3600.0)
    site = Site(name="mine", cpu_workers_per_node=2)
    ScriptedSlurm(tmp_path / "bin", monkeypatch).sinfo("n1|idle", "n2|allocated", "n3|drained", "n4|down*")
    made = estimate_of(run, site)
    assert (made.elements, made.nodes, made.usable_nodes, made.hours) == (4, 2, 2, 2)
    assert "mine has 2 usable nodes now, fewer than the run could use" in text(made).replace("\n", " ")
    assert estimate_of(run, site, 1).nodes == 1


def test_loading_a_model_is_counted_once_for_each_worker(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    path = run.files(FIRST, 0).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), "loading": 1800.0}))
    rate = stage_rates(run)[FIRST]
    assert (rate.startup, rate.seconds_per_row) == (1800, 180)
    assert estimate_of(run, Site(name="mine", cpu_workers_per_node=2), 1).hours == 4 * (0.5 + 0.5)


def test_groups_are_those_of_the_launch_before(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    site = Site(name="mine", cpu_workers_per_node=2)
    assert estimate_of(run, site).elements == 4
    JobsFolder(run).add_submission(Submission(site="mine", group=4))
    assert (estimate_of(run, site).elements, estimate_of(run, site).stages[0].minutes_per_element) == (2, 120)


def test_stages_overlap_element_by_element() -> None:
    after = {"a": "ingest", "b": "a"}
    assert makespan(after, {"a": [1.0, 1.0], "b": [1.0, 1.0]}, None) == (2.0, 2)
    assert makespan(after, {"a": [1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0]}, 2) == (4.0, 2)  # a a, b b, a, b: later stages go first
    assert makespan(after, {"a": [1.0], "b": [5.0]}, 3) == (6.0, 1)


def test_branches_run_beside_each_other_and_a_limit_puts_them_in_turn() -> None:
    after = {"a": "ingest", "b": "a", "c": "a"}
    seconds = {"a": [1.0], "b": [2.0], "c": [4.0]}
    assert makespan(after, seconds, None) == (5.0, 2)
    assert makespan(after, seconds, 1) == (7.0, 1)


def test_the_whole_run_chains_its_stages(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    finish(run, SECOND, 0, 7200.0)
    site = Site(name="mine", cpu_workers_per_node=4)
    assert (estimate_of(run, site).hours, estimate_of(run, site).nodes) == (3, 2)
    assert estimate_of(run, site, 1).hours == 6
    assert estimate_of(run).hours == estimate_of(run).worker_hours == 24  # one worker here


def test_the_range_is_that_of_the_fastest_and_the_slowest_shard(run: RunFolder) -> None:
    for shard, seconds in ((0, 3600.0), (1, 7200.0), (2, 10800.0)):
        finish(run, FIRST, shard, seconds)
    made = estimate_of(run, Site(name="mine", stages={FIRST: {"gpus_per_worker": 1}}))
    stage = made.stages[0]
    assert (stage.worker_hours_low, stage.worker_hours, stage.worker_hours_high) == (8, 16, 24)
    assert (made.hours_low, made.hours, made.hours_high) == (1, 2, 3)
    assert (made.gpu_hours_low, made.gpu_hours, made.gpu_hours_high) == (8, 16, 24)
    assert stage.spread == 1.5
    assert "8.0-24.0 h" in text(made)


def test_one_shard_gives_no_range(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3600.0)
    made = estimate_of(run)
    stage = made.stages[0]
    assert (stage.worker_hours_low, stage.worker_hours_high, stage.spread) == (None, None, None)
    assert (made.hours_low, made.gpu_hours_low) == (None, None)
    assert any("how much shards differ is not known" in note for note in made.notes)


def test_a_worker_that_starts_again_for_each_element_loads_its_model_again(run: RunFolder) -> None:
    for shard, seconds in ((0, 5400.0), (1, 3600.0)):
        finish(run, FIRST, shard, seconds)
        path = run.files(FIRST, shard).manifest
        path.write_text(json.dumps({**json.loads(path.read_text()), "job": {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}}))
    stage = estimate_of(run, Site(name="mine", cpu_workers_per_node=4)).stages[0]
    assert stage.minutes_per_shard == 60
    assert stage.minutes_per_element == 90
    assert stage.worker_hours == 8 + 8 * 0.5  # two elements of four workers


def test_disk_is_bytes_per_row_and_what_is_there_is_not_needed_again(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(2):
        finish(run, FIRST, shard, 1.0)
    files = [run.files(FIRST, shard) for shard in range(2)]
    there = sum(each.part.stat().st_size + each.rejects.stat().st_size for each in files)
    made = estimate_of(run)
    assert (made.bytes, made.bytes_left) == (there * 4, there * 3)
    assert not any("more disk" in note for note in made.notes)
    usage = namedtuple("usage", "total used free")(10**9, 10**9, there * 3 - 1)  # a full disk cannot be made in a test
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert any("more disk" in note and "free" in note for note in estimate_of(run).notes)


def test_the_advice_is_a_shard_of_ten_to_thirty_minutes(run: RunFolder) -> None:
    finish(run, FIRST, 0, 7200.0)
    assert any("--rows-per-shard 2" in note for note in estimate_of(run).notes)
    finish(run, FIRST, 0, 1200.0)
    assert not any("replan" in note for note in estimate_of(run).notes)
    finish(run, FIRST, 0, 120.0)  # too short, and the run is worth it: 16 minutes
    assert any("--rows-per-shard 80" in note for note in estimate_of(run).notes)
    finish(run, FIRST, 0, 10.0)  # the whole run is a minute
    assert not any("replan" in note for note in estimate_of(run).notes)


def test_an_element_that_outlives_its_time_limit_is_told_and_its_shards_alone_do_not_matter(run: RunFolder) -> None:
    finish(run, FIRST, 0, 3000.0)
    site = Site(name="mine", cpu_workers_per_node=4, max_minutes=90)
    stage = estimate_of(run, site).stages[0]
    assert (stage.minutes_per_element, stage.minutes_limit) == (50, 64)
    assert not any("requeued" in note for note in estimate_of(run, site).notes)
    JobsFolder(run).add_submission(Submission(site="mine", group=8))  # two turns of 50 minutes, and the site allows 90
    stage = estimate_of(run, site).stages[0]
    assert (stage.minutes_per_element, stage.minutes_limit) == (100, 90)
    assert any("1:40:00 and its jobs have 1:30:00: they are requeued" in note for note in estimate_of(run, site).notes)


def test_a_target_makes_it_a_part_of_the_run(tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(80)))
    run = run_of_text_stages(tmp_path, table, 8, target_rows=25)
    for stage in run.stages:
        finish(run, stage, 0, 3600.0)
    made = estimate_of(run)
    assert (made.shards, made.stages[0].rows, made.stages[0].worker_hours) == (3, 30, 3)
    assert any("3 of 8 shards give the target of 25 rows" in note for note in made.notes)


def test_what_is_not_known_is_said(run: RunFolder) -> None:
    made = estimate_of(run)
    assert (made.stages, made.unmeasured, made.hours) == ([], run.stages, 0)
    assert "not measured yet" in text(made)
    finish(run, FIRST, 0, 1.0)
    manifest = run.manifest(FIRST, 0)
    assert manifest is not None
    assert any(
        note.startswith(f"measured on 1 shard and 10 rows per stage, on {manifest.host};") for note in estimate_of(run).notes
    )


def test_it_fits_a_terminal_and_json(run: RunFolder) -> None:
    for shard in range(2):
        finish(run, FIRST, shard, 360_000.0 * (1 + shard))
    made = estimate_of(run, Site(name="mine", stages={FIRST: {"gpus_per_worker": 1}}))
    row = next(line for line in text(made).splitlines() if line.startswith(FIRST))
    assert "…" not in row and "1,200" in row
    assert json.loads(json.dumps(made.to_dict()))["stages"][0]["gpu_hours"] == 1200


def test_a_probe_ends_before_a_stage_that_learns_from_shards_that_are_not_there(run: RunFolder) -> None:
    lines: list[str] = []
    assert probe(run, report=lines.append) == ["extract_objects", "propose_negatives"]
    assert lines[-1].startswith("draw_questions learns from many shards: estimate again when propose_negatives")


def test_a_probe_runs_one_typical_shard_and_nothing_twice(run: RunFolder, tmp_path: Path) -> None:
    run = run_of_text_stages(tmp_path, Path(run.plan.input.path), 8)
    shard = typical_shard(run)
    assert shard is not None
    lines: list[str] = []
    assert probe(run, report=lines.append) == run.stages
    assert all(run.is_complete(stage, shard) for stage in run.stages)
    assert len(lines) == len(run.stages) and "10 in = 10 out" in lines[0]
    assert probe(run) == []


def test_a_probe_keeps_standard_output_for_the_estimate(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of_text_stages(tmp_path, Path(run.plan.input.path), 8)
    probe(run, shard=3)
    assert all(run.is_complete(stage, 3) for stage in run.stages)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{FIRST} shard 3: 10 in = 10 out" in err
