"""Minutes of random faults on a real cluster: workers, jobs, nodes and the controller die, and no row may be lost by it.

    PYTHONPATH=tests python -m slurm.chaos --minutes 10 --seed 3

What happens, to whom and how long after the last is drawn from the seed before anything starts, so that a seed can be played
again. Runs are launched one after the other for as long as it lasts; each must come to the same bytes as without faults, and
what was published must stay.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from slurm.cluster import Cluster, start_cluster
from slurm.mill import Mill, local_digests, new_mill

SLOW = 0.15
"""Seconds per row: a run of two stages lasts long enough to be hit several times."""
GAP = (1.0, 6.0)
WAIT = 10.0
PATIENCE = 300.0
T = TypeVar("T")


@dataclass(frozen=True)
class ClusterFault:
    """Comes `after` so many seconds; `pick` in [0, 1) chooses whom it hits; for how many seconds it `lasts`, if it does."""

    after: float
    kind: str
    pick: float
    lasts: float


def drawn(seed: int) -> Iterator[ClusterFault]:
    """The faults of a seed, in order, without end."""
    rng = Random(f"chaos {seed}")
    kinds = list(KINDS)
    while True:
        kind = rng.choices(kinds, [KINDS[name].weight for name in kinds])[0]
        yield ClusterFault(round(rng.uniform(*GAP), 1), kind, rng.random(), round(rng.uniform(2, 20), 1))


@dataclass
class Chaos:
    """A cluster with faults, the run on it, and what has been published so far."""

    cluster: Cluster
    mill: Mill
    began: float
    report: Callable[[str], None] = print
    down: dict[str, float] = field(default_factory=dict)
    published: dict[tuple[str, int], str] = field(default_factory=dict)

    def inject(self, each: ClusterFault) -> bool:
        """Make it happen; False if there is nothing yet that it could hit."""
        whom = KINDS[each.kind].act(self, each)
        if whom:
            self.report(f"{time.monotonic() - self.began:6.1f} s  {each.kind}: {whom}")
        return bool(whom)

    def check_published(self) -> None:
        """What has been published must stay as it is."""
        run = self.mill.fresh()
        for stage in run.stages:
            for shard in range(run.num_shards):
                manifest = run.manifest(stage, shard)
                known = self.published.get((stage, shard))
                assert manifest is not None or known is None, f"{stage} {shard} was published and is gone"
                if manifest is not None:
                    assert known in (None, manifest.attempt), f"{stage} {shard} was published twice"
                    self.published[stage, shard] = manifest.attempt

    def relaunch_if_idle(self) -> None:
        """Where nothing is in the queue and something is missing, a user launches again, with all attempts given back."""
        if "controller" not in self.down and not self.mill.is_complete() and not self.cluster.squeue():
            self.cluster.attempt("shardmill", "retry", str(self.mill.run.path), cwd=self.mill.folder)

    def repair(self, *, everything: bool = False) -> None:
        """Bring back what has been down for long enough."""
        for name in [name for name, until in self.down.items() if everything or until <= time.monotonic()]:
            if name == "controller":
                self.cluster.raise_controller()
            else:
                self.cluster.raise_node(name)
            del self.down[name]
        if "controller" not in self.down:
            for node, state in self.cluster.node_states().items():
                if node not in self.down and state.startswith(("down", "drain", "fail")):
                    self.cluster.attempt("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def workers(self) -> list[int]:
        return self.processes(f"worker_main {self.mill.run.path}")

    def processes(self, words: str) -> list[int]:
        text = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True).stdout
        return sorted(int(pid) for pid in text.split() if int(pid) != os.getpid())


def _kill_worker(chaos: Chaos, each: ClusterFault) -> str:
    return _signal(choose(chaos.workers(), each), signal.SIGKILL)


def _stop_worker(chaos: Chaos, each: ClusterFault) -> str:
    """It is frozen for a while, as on a node that swaps, and then continues."""
    pid = choose(chaos.workers(), each)
    if pid is not None and _signal(pid, signal.SIGSTOP):
        time.sleep(min(each.lasts, 5))
        _signal(pid, signal.SIGCONT)
    return str(pid or "")


def _kill_launcher(chaos: Chaos, each: ClusterFault) -> str:
    """The process that watches over the workers of an array element."""
    return _signal(choose(chaos.processes(f"element_job.*{chaos.mill.run.path}"), each), signal.SIGKILL)


def _requeue(chaos: Chaos, each: ClusterFault) -> str:
    return _to_job(chaos, each, "scontrol", "requeue")


def _send_signal(chaos: Chaos, each: ClusterFault) -> str:
    """The signal that SLURM sends before the time limit."""
    return _to_job(chaos, each, "scancel", "--signal=USR2")


def _cancel(chaos: Chaos, each: ClusterFault) -> str:
    return _to_job(chaos, each, "scancel")


def _to_job(chaos: Chaos, each: ClusterFault, *command: str) -> str:
    if "controller" in chaos.down:
        return ""
    job = choose([queued.id for queued in chaos.cluster.squeue() if queued.state == "RUNNING"], each)
    if job:
        chaos.cluster.attempt(*command, job)
    return job or ""


def _kill_node(chaos: Chaos, each: ClusterFault) -> str:
    return _lose(chaos, each, chaos.cluster.kill_node)


def _drop_node(chaos: Chaos, each: ClusterFault) -> str:
    return _lose(chaos, each, chaos.cluster.drop_node)


def _lose(chaos: Chaos, each: ClusterFault, lose: Callable[[str], None]) -> str:
    if chaos.down:
        return ""
    used = {queued.node for queued in chaos.cluster.squeue() if queued.state == "RUNNING"}
    node = choose(sorted(used & chaos.cluster.node_states().keys()), each)
    if node:
        lose(node)
        chaos.down[node] = time.monotonic() + each.lasts
    return node or ""


def _stop_controller(chaos: Chaos, each: ClusterFault) -> str:
    if chaos.down or not chaos.workers():
        return ""
    chaos.cluster.stop_controller()
    chaos.down["controller"] = time.monotonic() + each.lasts / 2
    return "the controller"


def _signal(pid: int | None, number: signal.Signals) -> str:
    if pid is None:
        return ""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return ""
    return str(pid)


def choose(candidates: list[T], each: ClusterFault) -> T | None:
    return candidates[int(each.pick * len(candidates))] if candidates else None


@dataclass(frozen=True)
class Kind:
    """What a fault does, to whom it says; and how often it is drawn beside others."""

    act: Callable[[Chaos, ClusterFault], str]
    weight: int


KINDS = {
    "a worker is killed": Kind(_kill_worker, 6),
    "a worker is frozen": Kind(_stop_worker, 3),
    "a launcher is killed": Kind(_kill_launcher, 2),
    "a job is requeued": Kind(_requeue, 4),
    "a job gets its signal": Kind(_send_signal, 3),
    "a job is cancelled": Kind(_cancel, 1),
    "a node loses power": Kind(_kill_node, 1),
    "a node loses contact": Kind(_drop_node, 1),
    "the controller is down": Kind(_stop_controller, 1),
}


def play(cluster: Cluster, folder: Path, seed: int, seconds: float, report: Callable[[str], None] = print) -> int:
    """Run pipelines on a cluster with the faults of a seed; returns how many runs it took.

    A fault with nothing to hit waits for a while. Raises AssertionError when a row is lost or doubled.
    """
    faults = drawn(seed)
    began, runs = time.monotonic(), 0
    while time.monotonic() - began < seconds or not runs:
        mill = _launched(cluster, folder / f"run-{runs}")
        chaos, runs = Chaos(cluster, mill, began, report), runs + 1
        following = next(faults)
        due = time.monotonic() + following.after
        while (now := time.monotonic()) - began < seconds and not mill.is_complete():
            if now >= due and (chaos.inject(following) or now >= due + WAIT):
                following = next(faults)
                due = now + following.after
            chaos.repair()
            chaos.relaunch_if_idle()
            chaos.check_published()
            time.sleep(0.2)
        _finish(chaos)
        report(f"{time.monotonic() - began:6.1f} s  run {runs} is complete: {len(chaos.published)} shards as without faults")
    return runs


def _launched(cluster: Cluster, folder: Path) -> Mill:
    folder.mkdir()
    mill = new_mill(cluster, folder, rows=64, shards=4)
    mill.break_things(slow=SLOW)
    mill.launch("--shards-per-node", "2")
    return mill


def _finish(chaos: Chaos) -> None:
    """Repair everything and wait until the run is complete; then nothing of it may be other than without faults."""
    chaos.repair(everything=True)
    chaos.mill.break_things()
    deadline = time.monotonic() + PATIENCE
    while not chaos.mill.is_complete():
        assert time.monotonic() < deadline, "the run does not finish"
        chaos.repair()
        chaos.relaunch_if_idle()
        chaos.check_published()
        time.sleep(0.3)
    chaos.check_published()
    chaos.cluster.wait_for_empty(120)
    chaos.mill.check_conservation()
    chaos.mill.shardmill("combine", chaos.mill.run.path, chaos.mill.run.stages[-1], "--out", chaos.mill.folder / "out.csv")
    assert chaos.mill.digests() == local_digests(chaos.mill)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with start_cluster() as cluster, tempfile.TemporaryDirectory(prefix="shardmill-chaos-") as folder:
        runs = play(cluster, Path(folder), asked.seed, asked.minutes * 60)
    print(f"seed {asked.seed}: {runs} runs, nothing lost or doubled")


if __name__ == "__main__":
    sys.exit(main())
