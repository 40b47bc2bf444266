"""The whole pipeline on the sample while the cluster misbehaves: a node lost, requeues, a time limit, a poisoned shard."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import Cluster
from slurm.mill import Mill, local_digests, sample_mill

POISONED = 11


def test_the_sample_survives_it_all(cluster: Cluster, tmp_path: Path) -> None:
    mill = sample_mill(cluster, tmp_path, shards=32)
    word = mill.run.read_part("ingest", POISONED)[0]["caption"][3]
    assert word
    mill.break_things(poison=word, slow=0.1)
    mill.launch(stages={stage: {"gpus_per_worker": 1} for stage in mill.run.stages})
    wait_for_rows(mill, "extract_objects", range(8))
    mill.cluster.expire(mill.element("extract_objects", 0), 30)
    mill.cluster.requeue(mill.element("extract_objects", 1))
    wait_for_rows(mill, "propose_negatives", range(8, 11))
    lost = mill.cluster.node_of(mill.element("propose_negatives", 1))
    mill.cluster.kill_node(lost)
    wait_for_start(mill, mill.element("validate_objects", 2))
    mill.cluster.requeue(mill.element("validate_objects", 2))
    mill.cluster.raise_node(lost)
    mill.cluster.wait_for_empty(500)
    run = mill.fresh()
    unfinished = {shard for stage in run.stages for shard in range(32) if not run.is_complete(stage, shard)}
    assert unfinished == {POISONED}
    assert not (run.path / "datasets").exists()
    assert list(mill.jobs.quarantined("extract_objects")) == [POISONED]
    assert sum(held.restart > 0 for held in mill.jobs.allocations()) >= 4
    mill.break_things()
    mill.shardmill("retry", run.path)
    mill.cluster.wait_until((run.path / "datasets" / "dataset.json").exists, 300, "the datasets are built")
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
    cluster.env.pop("SHARDMILL_FAULTS")
    cluster.env.pop("PYTHONPATH")


def wait_for_rows(mill: Mill, stage: str, shards: range) -> None:
    """Some of these shards of a stage have rows in their journals, or are done already."""
    run = mill.fresh()
    mill.cluster.wait_until(
        lambda: any(mill.rows_done(stage, shard) or run.is_complete(stage, shard) for shard in shards),
        200,
        f"{stage} is under way",
    )


def wait_for_start(mill: Mill, job: str) -> None:
    mill.cluster.wait_until(lambda: mill.cluster.node_of(job), 300, f"{job} runs")
