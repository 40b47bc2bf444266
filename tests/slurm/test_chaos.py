"""A short run of random faults; `python -m slurm.chaos` makes longer ones. Seed and minutes are from the environment."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from slurm.chaos import KINDS, drawn, play
from slurm.cluster import Cluster

SEED = int(os.environ.get("SHARDMILL_CHAOS_SEED", "0"))
MINUTES = float(os.environ.get("SHARDMILL_CHAOS_MINUTES", "0.4"))


def test_whatever_happens_no_row_is_lost_or_doubled(cluster: Cluster, tmp_path: Path) -> None:
    lines: list[str] = []
    try:
        runs = play(cluster, tmp_path, SEED, MINUTES * 60, lines.append)
    finally:
        print(f"SHARDMILL_CHAOS_SEED={SEED} SHARDMILL_CHAOS_MINUTES={MINUTES}", *lines, sep="\n")
    assert runs and sum("is complete" in line for line in lines) == runs


def test_a_seed_draws_the_same_faults_again() -> None:
    first, again, other = (list(islice(drawn(seed), 100)) for seed in (7, 7, 8))
    assert first == again != other
    assert {each.kind for each in first} == KINDS.keys()
