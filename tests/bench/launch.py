"""How long a launch of 1,000 elements per stage takes: seven chained arrays of 1,000, beside one `sbatch` per shard.

    python tests/bench/launch.py --shards 1000

Needs a SLURM (SLURM_CONF), or starts a test cluster. Jobs are submitted held, and cancelled at the end: nothing runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shardmill.core.planning import NewRun, start_run
from shardmill.launch import slurm
from shardmill.launch.cluster_plan import plan_launch
from shardmill.launch.site import Site
from shardmill.launch.submit import submit
from shardmill.store.jobs import JobsFolder
from slurm.cluster import start_cluster

BASELINE_CALLS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=1000)
    shards = parser.parse_args().shards
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if "SLURM_CONF" not in os.environ:
            os.environ.update(stack.enter_context(start_cluster()).env)
        table = folder / "captions.csv"
        table.write_text("caption\n" + "".join(f"A dog in room {row}.\n" for row in range(shards * 4)))
        run = start_run(folder / "run", NewRun(input=table, num_shards=shards, settings=("filter_objects.unverified=keep",)))
        site = Site(name="bench", partition="main", memory_gb_per_node=64, sbatch={"hold": True})
        moments = [time.perf_counter()]
        plan = plan_launch(run, site, group=1, by_stage=True)
        planned = time.perf_counter() - moments[0]
        submission = submit(plan, lambda line: moments.append(time.perf_counter()), build=False)
        took = moments[-1] - moments[0]
        jobs = sum(len(array.elements) for array in submission.arrays)
        print(f"{len(submission.arrays)} arrays, {jobs:,} elements: first submitted after {moments[1] - moments[0]:.2f} s, "
              f"all after {took:.2f} s (planning {planned:.2f} s)")  # fmt: skip
        assert len(JobsFolder(run).submissions()[0].arrays) == len(run.stages)
        again = time.perf_counter()
        assert plan_launch(run, site, group=1).arrays == []
        print(f"launching again finds all of it under way in {time.perf_counter() - again:.2f} s")
        slurm.cancel([array.job for array in submission.arrays])
        each = one_by_one(folder)
        alone = each * jobs
        print(f"one sbatch per shard and stage: {each * 1000:.1f} ms each, {alone:.1f} s for all; ratio {alone / took:.1f}")


def one_by_one(folder: Path) -> float:
    """Seconds per `sbatch` call."""
    script = folder / "one.sh"
    script.write_text("#!/bin/sh\n#SBATCH --hold\n#SBATCH --output=/dev/null\ntrue\n")
    begin = time.perf_counter()
    ids = [
        subprocess.run(["sbatch", "--parsable", script], check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(BASELINE_CALLS)
    ]
    spent = time.perf_counter() - begin
    slurm.cancel(ids)
    return spent / BASELINE_CALLS


if __name__ == "__main__":
    main()
