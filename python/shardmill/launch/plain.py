"""What a slot is to do where no launcher said so: in a plain `sbatch --array` of `slurm/stage.sbatch`, or on a node by number."""

from __future__ import annotations

import os
from pathlib import Path

from shardmill.launch.place import Assignment
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.errors import UserError


def assignment_here(run_path: str, stage: str) -> Assignment:
    """The shards of this element: array task k of n gets the k-th of n equal parts of all shards, in every stage the same.

    Raises UserError when the numbers that SLURM (or `run_node`) set make no sense.
    """
    run = RunFolder(Path(run_path).resolve())
    planned = run.stage(stage)
    env = os.environ
    first = int(env.get("SLURM_ARRAY_TASK_MIN", "0"))
    index = int(env.get("SHARDMILL_ELEMENT") or int(env.get("SLURM_ARRAY_TASK_ID", first)) - first)
    count = int(env.get("SHARDMILL_ELEMENTS") or int(env.get("SLURM_ARRAY_TASK_MAX", first)) - first + 1)
    if not 0 <= index < count:
        raise UserError(f"element {index} of {count}: number the array tasks (or nodes) from 0 on, without gaps")
    return Assignment(
        run=str(run.path),
        stage=planned.name,
        shards=tuple(part(run.num_shards, index, count)),
        logs=str(TaskLogs(run).folder),
        gpus_per_worker=int(env.get("SHARDMILL_GPUS_PER_WORKER") or planned.resources.gpus_per_worker),
        cpus=int(env.get("SLURM_CPUS_ON_NODE", "0")),
        partition=env.get("SLURM_JOB_PARTITION"),
        chained=False,
    )


def part(num_shards: int, index: int, count: int) -> range:
    """The shards of element `index` of `count`: parts that differ by at most one shard.

    >>> [list(part(5, index, 2)) for index in range(2)]
    [[0, 1], [2, 3, 4]]
    """
    return range(num_shards * index // count, num_shards * (index + 1) // count)
