"""NegBench on a test cluster with an array for each phase, and with one for each stage: time, model loads, nodes, GPU-seconds.

    python tests/bench/phases.py --load 20 --wait 10

Every model takes `--load` seconds to load, and every element waits `--wait` seconds in SLURM's queue, from the moment at which
its dependencies are met. Two nodes, each with two workers of one GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slurm.cluster import Cluster, start_cluster
from slurm.mill import Mill, sample_mill

SHARDS = 4
PATIENCE = 900


@dataclass
class Figures:
    """What one run took. `held` and `idle` are GPU-seconds; idle are those neither loading nor in a stage with a model."""

    arrays: int
    nodes: int
    loads: int
    seconds: float
    held: float
    loading: float
    idle: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, default=20.0)
    parser.add_argument("--wait", type=float, default=10.0)
    asked = parser.parse_args()
    made: dict[str, Figures] = {}
    digests = []
    with start_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        for name, options in (("phases", []), ("stage by stage", ["--no-phases"])):
            (Path(folder) / name).mkdir()
            mill = sample_mill(cluster, Path(folder) / name, SHARDS)
            mill.break_things(load=asked.load, loads=str(mill.folder / "loads"))
            with slow_queue(cluster, asked.wait):
                made[name] = play(mill, asked.load, options)
            digests.append(mill.digests())
            cluster.wait_for_empty(60)
    assert digests[0] == digests[1], "the files differ"
    print(f"| | {' | '.join(Figures.__annotations__)} |\n|{'---|' * (len(Figures.__annotations__) + 1)}")
    for name, each in made.items():
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in vars(each).values())} |")
    few, many = made.values()
    print(f"time x {few.seconds / many.seconds:.2f}, GPU-seconds held x {few.held / many.held:.2f}; the same bytes")


def play(mill: Mill, load: float, options: list[str]) -> Figures:
    """Launch a run and wait for its datasets."""
    with_model = [stage.name for stage in mill.run.plan.stages if stage.role]
    began = time.monotonic()
    stages = {stage: {"gpus_per_worker": 1, "minutes": 20} for stage in with_model}
    mill.launch("--shards-per-node", "2", *options, sbatch={"hold": True}, stages=stages)
    mill.cluster.wait_until((mill.run.path / "datasets" / "dataset.json").exists, PATIENCE, "the datasets are built")
    seconds = time.monotonic() - began
    allocations = mill.jobs.allocations()
    held = sum(each.hours * 3600 * each.gpus for each in allocations)
    manifests = [mill.run.manifest(stage, shard) for stage in with_model for shard in range(SHARDS)]
    asking = sum(made.seconds for made in manifests if made is not None)
    loads = len((mill.folder / "loads").read_text().splitlines())
    arrays = mill.jobs.submissions()[0].arrays
    return Figures(len(arrays), len(allocations), loads, seconds, held, loads * load, held - asking)


@contextmanager
def slow_queue(cluster: Cluster, wait: float) -> Iterator[None]:
    """Release each job that was submitted on hold `wait` seconds after its dependencies are met."""
    end = threading.Event()

    def release() -> None:
        met: dict[str, float] = {}
        released: set[str] = set()
        while not end.wait(0.5):
            text = cluster.run("squeue", "-h", "-r", "-a", "--states=PENDING", "-o", "%i|%E|%r")
            for job, depends, reason in (line.split("|", 2) for line in text.splitlines()):
                if depends in ("", "(null)") and reason == "JobHeldUser" and job not in released:
                    met.setdefault(job, time.monotonic())
                    if time.monotonic() - met[job] >= wait:
                        cluster.run("scontrol", "release", job)
                        released.add(job)

    thread = threading.Thread(target=release)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


if __name__ == "__main__":
    main()
