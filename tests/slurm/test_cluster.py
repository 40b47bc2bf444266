"""What the other tests of this folder count on: SLURM on the test cluster does these things."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import Cluster

SLEEP = "sleep 300 & wait\n"


def lines_of(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_array_elements_run_on_both_nodes_with_gpus_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    script = f'echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES" >{tmp_path}/$SLURM_ARRAY_TASK_ID\nsleep 3\n'
    cluster.submit(script, "--array=0-3", "--gres=gpu:4")
    cluster.wait_for_empty(30)
    seen = [(tmp_path / str(index)).read_text().strip() for index in range(4)]
    assert sorted(seen) == ["n1 0,1,2,3", "n1 4,5,6,7", "n2 0,1,2,3", "n2 4,5,6,7"]
