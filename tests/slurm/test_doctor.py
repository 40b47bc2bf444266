"""`shardmill doctor` on a real cluster: what is wrong is told with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster
from slurm.mill import new_mill


def checks(cluster: Cluster, *words: object) -> tuple[int, dict[str, dict[str, Any]]]:
    done = cluster.attempt("shardmill", "doctor", "--json", *map(str, words))
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}


def test_a_sound_site_and_run_pass(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    code, found = checks(cluster, "--site", mill.site(memory_gb_per_node=64), "--run", mill.run.path)
    assert code == 0, found
    assert {check["verdict"] for check in found.values()} == {"ok"}
    assert "wrote to" in found["write from a node"]["detail"]
    assert sorted(path.name for path in mill.run.path.iterdir()) == ["ingest", "plan.json"]


def test_what_a_node_does_not_have_is_told(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    code, found = checks(cluster, "--site", mill.site(gpus_per_node=16, memory_gb_per_node=64))
    assert code == 1
    assert found["partition main for GPU jobs: a whole node"]["verdict"] == "fail"
    assert found["partition main for CPU jobs: a whole node"]["verdict"] == "ok"


def test_a_partition_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    code, found = checks(cluster, "--site", mill.site(partition="nowhere"))
    assert code == 1
    assert "partition" in found["partition nowhere for GPU jobs"]["remedy"]


def test_a_full_queue_is_a_warning_and_no_job_is_left(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    hog = cluster.submit("sleep 300", "--nodes=2", "--exclusive")
    cluster.wait_for_state(hog, "RUNNING")
    code, found = checks(cluster, "--site", mill.site(memory_gb_per_node=64), "--run", mill.run.path)
    assert code == 0
    assert found["write from a node"]["verdict"] == "warn"
    assert [each.id for each in cluster.squeue()] == [hog]


def test_a_controller_that_is_down(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    cluster.stop_controller()
    code, found = checks(cluster, "--site", mill.site())
    assert code == 1
    assert "scontrol ping" in found["SLURM"]["remedy"]
