"""Whole pipelines on their samples, undisturbed, with an array for each phase. NegBench: test_phases, test_everything_at_once."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.mill import TWO_CAPTIONERS, local_digests, sample_mill


@pytest.mark.parametrize("pipeline", ["antidote", TWO_CAPTIONERS, "anyedit"], ids=["antidote", "recaption", "anyedit"])
def test_the_other_pipelines_give_what_one_machine_gives(cluster: Cluster, tmp_path: Path, pipeline: str) -> None:
    mill = sample_mill(cluster, tmp_path, 2, pipeline)
    mill.launch("--shards-per-node", "1")
    assert {len(array.elements) for array in mill.jobs.submissions()[0].arrays} == {2}
    datasets = mill.run.path / "datasets"
    mill.cluster.wait_until((datasets / "dataset.json").exists, 900, "the datasets are built")
    mill.cluster.wait_for_empty(30)
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
