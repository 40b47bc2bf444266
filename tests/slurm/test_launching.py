"""Launching on a real cluster: what is submitted, what is not, and within which limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.mill import Mill, local_digests, new_mill


@pytest.fixture
def mill(cluster: Cluster, tmp_path: Path) -> Iterator[Mill]:
    made = new_mill(cluster, tmp_path)
    made.break_things()
    yield made


def test_launching_while_jobs_run_doubles_nothing_and_afterwards_there_is_nothing_to_do(mill: Mill) -> None:
    check_a_refused_launch_changes_nothing(mill)
    mill.break_things(slow=1)
    mill.launch()
    mill.cluster.wait_until(lambda: mill.rows_done("extract_objects", 0), 180, "work is under way")
    before = {each.id for each in mill.cluster.squeue()}
    said = mill.launch()
    assert "already in the queue" in said and "not submitted again" in said
    assert {each.id for each in mill.cluster.squeue()} <= before
    assert [len(each.arrays) for each in mill.jobs.submissions()] == [0, 1]
    mill.break_things()
    mill.wait_complete()
    mill.cluster.wait_for_empty(180)
    assert "every shard is finished" in mill.launch()
    assert mill.cluster.squeue() == []


def test_what_follows_jobs_under_way_is_submitted_behind_them(mill: Mill) -> None:
    mill.break_things(slow=1)
    mill.launch("--no-phases")
    mill.cluster.wait_until(lambda: mill.rows_done("extract_objects", 0), 180, "work is under way")
    mill.cluster.cancel(mill.element("propose_negatives").partition("_")[0])
    mill.launch()
    arrays = mill.jobs.submissions()[1].arrays
    assert [array.stages for array in arrays] == [["propose_negatives"]]
    assert mill.element("extract_objects", launch=0) in arrays[0].depends
    mill.break_things()
    mill.wait_complete()
    mill.check_conservation()


def test_arrays_are_cut_and_one_limit_of_nodes_holds_over_all_of_them(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=50, shards=5)
    mill.break_things(slow=0.3)
    mill.launch("--no-phases", "--shards-per-node", "1", "--max-parallel", "3", max_array_size=2)
    submission = mill.jobs.submissions()[0]
    assert [len(array.elements) for array in submission.arrays] == [2, 2, 1, 2, 2, 1]
    running: list[int] = []
    deadline = time.monotonic() + 200
    while not mill.is_complete():
        assert time.monotonic() < deadline
        running.append(sum(each.state == "RUNNING" for each in mill.cluster.squeue()))
        time.sleep(0.5)
    assert max(running) == 3
    mill.check_conservation()


def test_a_dry_run_prints_the_job_scripts_and_submits_nothing(mill: Mill) -> None:
    assert "stage by stage (--no-phases): 2, 2 and 4" in " ".join(mill.launch("--dry-run").split())
    said = mill.launch("--dry-run", "--no-phases")
    assert said.count("#SBATCH --array=") == 0  # one element each: plain jobs
    assert said.count("#SBATCH --signal=B:USR2@60") == 2
    assert "afterok:<job of extract_objects>" in said
    assert mill.cluster.squeue("--states=all", f"--name={mill.run.path.name}") == []
    assert mill.jobs.submissions() == []


def check_a_refused_launch_changes_nothing(mill: Mill) -> None:
    """What sbatch refuses is an error that says why."""
    done = mill.cluster.attempt(
        "shardmill", "launch", "negbench", "--run", str(mill.run.path), "--site", str(mill.site(partition="nowhere"))
    )
    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr
    assert mill.cluster.squeue() == []


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
    mill.wait_complete()
    bare_cluster.wait_for_empty(180)
    assert "every shard is finished" in mill.launch()
    mill.shardmill("status", mill.run.path)
    assert mill.digests() == local_digests(mill)
