"""Runs a whole pipeline in one process, shard by shard: something to kill. Usage: drive.py INPUT RUN NUM_SHARDS"""

from __future__ import annotations

import sys
from pathlib import Path

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store import journal

journal.FLUSH_SECONDS = 0.01


def main() -> None:
    settings = ["filter_objects.unverified=keep"]
    run = start_run(Path(sys.argv[2]), NewRun(input=Path(sys.argv[1]), num_shards=int(sys.argv[3]), settings=settings))
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)


if __name__ == "__main__":
    main()
