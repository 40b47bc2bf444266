"""Whole pipelines on their samples, undisturbed: two nodes, eight workers of one GPU each, an array for each stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.store.run_folder import RunFolder
from slurm.cluster import Cluster
from slurm.mill import TWO_CAPTIONERS, local_digests, sample_mill


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


@pytest.mark.parametrize("pipeline", ["antidote", TWO_CAPTIONERS, "anyedit"], ids=["antidote", "recaption", "anyedit"])
def test_the_other_pipelines_give_what_one_machine_gives(cluster: Cluster, tmp_path: Path, pipeline: str) -> None:
    mill = sample_mill(cluster, tmp_path, 16, pipeline)
    mill.launch()
    datasets = mill.run.path / "datasets"
    mill.cluster.wait_until((datasets / "dataset.json").exists, 900, "the datasets are built")
    mill.cluster.wait_for_empty(30)
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)


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
