"""The whole pipeline on the sample while the cluster misbehaves: a node lost, requeues, a time limit, a poisoned shard.

Two nodes, eight workers of one GPU each, an array for each stage; test_phases has one for each phase.
"""

from __future__ import annotations

from pathlib import Path

from shardmill.store.run_folder import RunFolder
from slurm.cluster import Cluster
from slurm.mill import Mill, local_digests, sample_mill

SHARDS, POISONED = 16, 11


def test_the_sample_survives_it_all(cluster: Cluster, tmp_path: Path) -> None:
    mill = sample_mill(cluster, tmp_path, shards=SHARDS)
    word = mill.run.read_part("ingest", POISONED)[0]["caption"][3]
    assert word
    mill.break_things(poison=word, slow=3)
    mill.launch("--no-phases", stages={stage: {"gpus_per_worker": 1} for stage in mill.run.stages})
    assert [len(array.elements) for array in mill.jobs.submissions()[0].arrays] == [2] * len(mill.run.stages)
    wait_for_rows(mill, "extract_objects", range(8))
    timed_out, requeued = mill.element("extract_objects", 0), mill.element("extract_objects", 1)
    mill.cluster.expire(timed_out, 30)
    wait_for_rows(mill, "extract_objects", range(8, 16))
    mill.cluster.requeue(requeued)
    mill.cluster.wait_for_state(timed_out, "PENDING", seconds=90)
    mill.break_things(poison=word, slow=0.1)
    wait_for_restart(mill, timed_out)  # the other one may stay in the queue longer than the next stage takes
    hit, again = mill.element("propose_negatives", 0), mill.element("propose_negatives", 1)
    wait_for_start(mill, hit)
    mill.break_things(poison=word, slow=2)
    lost = mill.cluster.node_of(hit)
    mill.cluster.kill_node(lost)
    mill.cluster.wait_for_state(hit, "PENDING", seconds=90)
    mill.break_things(poison=word, slow=0.1)
    mill.cluster.raise_node(lost)
    wait_for_restart(mill, hit)
    mill.cluster.wait_until(lambda: mill.cluster.state(again) in ("RUNNING", "COMPLETED"), 600, f"{again} has started")
    mill.cluster.requeue(again)
    mill.cluster.wait_for_empty(900)
    run = mill.fresh()
    before_fit = run.stages[: run.stages.index("draw_questions")]  # what learns from all shards waits for the poisoned one
    unfinished = {shard for stage in before_fit for shard in range(SHARDS) if not run.is_complete(stage, shard)}
    assert unfinished == {POISONED}
    assert not (run.path / "datasets").exists()
    assert list(mill.jobs.quarantined("extract_objects")) == [POISONED]
    assert {timed_out, requeued, hit, again} <= {held.job for held in mill.jobs.allocations() if held.restart}
    mill.break_things()
    mill.shardmill("retry", run.path)
    mill.cluster.wait_until((run.path / "datasets" / "dataset.json").exists, 600, "the datasets are built")
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
    check_workers_had_gpus_of_their_own(mill.fresh())
    check_stages_overlapped(mill.fresh())


def wait_for_rows(mill: Mill, stage: str, shards: range) -> None:
    """Some of these shards of a stage have rows in their journals."""
    mill.cluster.wait_until(lambda: any(mill.rows_done(stage, shard) for shard in shards), 400, f"{stage} is under way")


def wait_for_start(mill: Mill, job: str) -> None:
    mill.cluster.wait_until(lambda: mill.cluster.node_of(job), 600, f"{job} runs")


def wait_for_restart(mill: Mill, *jobs: str) -> None:
    def restarted() -> bool:
        return set(jobs) <= {held.job for held in mill.jobs.allocations() if held.restart}

    mill.cluster.wait_until(restarted, 400, f"{jobs} started again")


def check_workers_had_gpus_of_their_own(run: RunFolder) -> None:
    jobs = [run.manifest(stage, shard).job for stage in run.stages for shard in range(run.num_shards)]  # type: ignore[union-attr]
    used: dict[tuple[str, str], dict[str, set[str]]] = {}
    for job in jobs:
        start = (job["SLURM_JOB_ID"], job.get("SLURM_RESTART_COUNT", ""))
        used.setdefault(start, {}).setdefault(job["SLURM_PROCID"], set()).add(job["CUDA_VISIBLE_DEVICES"])
    for workers in used.values():
        gpus = [gpu for seen in workers.values() for gpu in seen]
        assert len(set(gpus)) == len(gpus) == len(workers)
        assert set(gpus) <= set("01234567")
    assert len({job["SLURMD_NODENAME"] for job in jobs}) == 2


def check_stages_overlapped(run: RunFolder) -> None:
    """Some shard was in the second stage before the last one had left the first."""
    first = [run.manifest(run.stages[0], shard).finished for shard in range(run.num_shards)]  # type: ignore[union-attr]
    second = [run.manifest(run.stages[1], shard).started for shard in range(run.num_shards)]  # type: ignore[union-attr]
    assert min(second) < max(first)
