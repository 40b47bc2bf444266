"""What allocated GPUs were doing, from allocations and finished shards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.store.goodput import gpu_time
from shardmill.store.jobs import Allocation
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import RunFolder

BEGUN = 1_700_000_000


def made(template: Manifest, begun: int, seconds: float, loading: float = 0.0, worker: int = 0) -> Manifest:
    """A shard that a worker with two GPUs did in the job 7_1."""
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_PROCID": str(worker)}
    changes = {"attempt": f"{BEGUN + begun}000-n1-1-abcdef", "seconds": seconds, "loading": loading}
    return template.model_copy(update={**changes, "job": {**job, "CUDA_VISIBLE_DEVICES": "0,1"}})


def test_the_time_of_allocated_gpus_is_divided_without_a_gap(make_run: Callable[..., RunFolder]) -> None:
    template = run_shard(make_run(num_shards=1), "extract_objects", 0)
    finished = {
        ("a", 0): made(template, 100, 1000, loading=400),
        ("a", 1): made(template, 1000, 800),  # asked while the first one was being finished
        ("table", 0): made(template, 1900, 100),
        ("b", 0): made(template, 2100, 500),
        ("a", 2): made(template, 100, 300, worker=1),
        ("a", 3): template,  # not in a job
    }
    held = Allocation(stages=["a", "table", "b"], job="7_1", node="n1", gpus=4, cpus=1, started=BEGUN, ended=BEGUN + 3600)
    without_gpus = held.model_copy(update={"job": "8", "gpus": 0, "stages": ["c"]})
    (phase,) = gpu_time([without_gpus, held], finished, ["a", "b"])
    assert phase.stages == ["a", "table", "b"]
    hours = {"held": 4.0, "loading": 800 / 3600, "asking": 2 * (1700 - 400 + 500 + 300) / 3600, "waiting": 2 * 300 / 3600}
    assert {name: getattr(phase, name) for name in hours} == pytest.approx(hours)
    assert phase.idle == pytest.approx(4.0 - hours["loading"] - hours["asking"] - hours["waiting"])
    assert sum(phase.shares().values()) == pytest.approx(1)


def test_a_phase_of_which_nothing_is_finished_is_idle() -> None:
    held = Allocation(stages=["a"], job="7", node="n1", gpus=8, cpus=1, started=0, ended=3600)
    assert gpu_time([held], {}, ["a"])[0].shares() == {"asking": 0, "loading": 0, "waiting": 0, "idle": 1}
