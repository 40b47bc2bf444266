"""Launching on a real cluster: what is submitted, what is not, and within which limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardmill.shards.run_folder import RunFolder
from slurm.cluster import Cluster
from slurm.mill import Mill, local_digests, new_mill, sample_mill


@pytest.fixture
def mill(cluster: Cluster, tmp_path: Path) -> Iterator[Mill]:
    made = new_mill(cluster, tmp_path)
    made.break_things()
    yield made
    cluster.env.pop("SHARDMILL_FAULTS")
    cluster.env.pop("PYTHONPATH")


def test_the_sample_on_two_nodes_of_eight_workers_gives_what_one_machine_gives(cluster: Cluster, tmp_path: Path) -> None:
    mill = sample_mill(cluster, tmp_path, shards=32)
    one_gpu_each = {stage: {"gpus_per_worker": 1} for stage in mill.run.stages}
    mill.launch(stages=one_gpu_each)
    assert [len(array.elements) for array in mill.jobs.submissions()[0].arrays] == [4] * 7
    mill.cluster.wait_until((mill.run.path / "datasets" / "dataset.json").exists, 900, "the datasets are built")
    mill.cluster.wait_for_empty(30)
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
    check_workers_had_gpus_of_their_own(mill.fresh())
    check_stages_overlapped(mill.fresh())


def check_workers_had_gpus_of_their_own(run: RunFolder) -> None:
    held: dict[tuple[str, str, str], set[str]] = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            job = run.manifest(stage, shard).job  # type: ignore[union-attr]
            element = (job["SLURM_ARRAY_JOB_ID"], job["SLURM_ARRAY_TASK_ID"], job["SLURM_PROCID"])
            held.setdefault(element, set()).add(job["CUDA_VISIBLE_DEVICES"])
    assert all(len(gpus) == 1 for gpus in held.values())
    for element, task in {key[:2]: None for key in held}.items():
        assert task is None
        gpus = [next(iter(held[key])) for key in held if key[:2] == element]
        assert len(set(gpus)) == len(gpus)
        assert set(gpus) <= set("01234567")
    assert len({run.manifest(stage, shard).job["SLURMD_NODENAME"] for stage in run.stages for shard in range(32)}) == 2  # type: ignore[union-attr]


def check_stages_overlapped(run: RunFolder) -> None:
    """Some shard was in the second stage before the last one had left the first."""
    first = [run.manifest(run.stages[0], shard).finished for shard in range(run.num_shards)]  # type: ignore[union-attr]
    second = [run.manifest(run.stages[1], shard).started for shard in range(run.num_shards)]  # type: ignore[union-attr]
    assert min(second) < max(first)


def test_launching_while_jobs_run_doubles_nothing_and_afterwards_there_is_nothing_to_do(mill: Mill) -> None:
    mill.break_things(slow=1)
    mill.launch()
    mill.cluster.wait_until(lambda: mill.rows_done("extract_objects", 0), 60, "work is under way")
    before = {each.id for each in mill.cluster.squeue()}
    said = mill.launch()
    assert "under way" in said
    assert {each.id for each in mill.cluster.squeue()} <= before
    assert len(mill.jobs.submissions()) == 1
    mill.break_things()
    mill.wait_complete(120)
    mill.cluster.wait_for_empty(60)
    assert "every shard is finished" in mill.launch()
    assert mill.cluster.squeue() == []


def test_what_follows_jobs_under_way_is_submitted_behind_them(mill: Mill) -> None:
    mill.break_things(slow=1)
    mill.launch()
    mill.cluster.wait_until(lambda: mill.rows_done("extract_objects", 0), 60, "work is under way")
    mill.cluster.cancel(mill.element("propose_negatives").partition("_")[0])
    mill.launch()
    arrays = mill.jobs.submissions()[1].arrays
    assert [array.stage for array in arrays] == ["propose_negatives"]
    assert mill.element("extract_objects", launch=0) in arrays[0].depends
    mill.break_things()
    mill.wait_complete(120)
    mill.check_conservation()


def test_arrays_are_cut_and_one_limit_of_nodes_holds_over_all_of_them(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=90, shards=9)
    mill.break_things(slow=0.3)
    mill.launch("--shards-per-node", "1", "--max-parallel", "3", max_array_size=4)
    submission = mill.jobs.submissions()[0]
    assert [len(array.elements) for array in submission.arrays] == [4, 4, 1, 4, 4, 1]
    running: list[int] = []
    deadline = time.monotonic() + 200
    while not mill.is_complete():
        assert time.monotonic() < deadline
        running.append(sum(each.state == "RUNNING" for each in mill.cluster.squeue()))
        time.sleep(0.5)
    assert max(running) == 3
    mill.check_conservation()
    cluster.env.pop("SHARDMILL_FAULTS")
    cluster.env.pop("PYTHONPATH")


def test_a_dry_run_prints_the_job_scripts_and_submits_nothing(mill: Mill) -> None:
    said = mill.launch("--dry-run")
    assert said.count("#SBATCH --array=") == 0  # one element each: plain jobs
    assert said.count("#SBATCH --signal=USR2@60") == 2
    assert "afterok:<job of extract_objects>" in said
    assert mill.cluster.squeue("--states=all", f"--name={mill.run.path.name}") == []
    assert mill.jobs.submissions() == []


def test_what_sbatch_refuses_is_an_error_that_says_why(mill: Mill) -> None:
    done = mill.cluster.attempt(
        "shardmill", "launch", "negbench", "--run", str(mill.run.path), "--site", str(mill.site(partition="nowhere"))
    )
    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
    mill.launch()
    mill.wait_complete(120)


def test_jobs_of_a_launch_that_was_killed_before_it_noted_them_are_found(mill: Mill) -> None:
    mill.break_things(slow=5)
    mill.launch()
    for path in (mill.run.path / "jobs" / "submissions").iterdir():
        path.unlink()
    done = mill.cluster.attempt("shardmill", "launch", "negbench", "--run", str(mill.run.path), "--site", str(mill.site()))
    assert done.returncode == 2
    assert "scancel" in done.stderr


def test_no_accounting_is_needed(bare_cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(bare_cluster, tmp_path)
    assert bare_cluster.attempt("sacct").returncode != 0
    mill.launch()
    mill.wait_complete(120)
    bare_cluster.wait_for_empty(60)
    assert "every shard is finished" in mill.launch()
    mill.shardmill("status", mill.run.path)
    assert mill.digests() == local_digests(mill)
