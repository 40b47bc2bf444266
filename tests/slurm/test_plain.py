"""The other ways in, with the same files coming out: plain sbatch scripts, and a node by its number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from slurm.cluster import Cluster
from slurm.mill import local_digests, new_mill

ROOT = Path(__file__).parents[2]


def test_a_stage_as_a_plain_job_array(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=100, shards=5)
    sbatch = ["sbatch", "--parsable", f"--output={tmp_path}/%A_%a.out", "--ntasks-per-node=2", "--cpus-per-task=1", "--array=0-1"]
    first = cluster.run(*sbatch, "slurm/stage.sbatch", mill.run.path, "extract_objects", cwd=ROOT).strip()
    after = [f"--dependency=aftercorr:{first}", "--kill-on-invalid-dep=yes"]
    second = cluster.run(*sbatch, *after, "slurm/stage.sbatch", mill.run.path, "propose_negatives", cwd=ROOT).strip()
    out = tmp_path / "all.csv"
    combine = ["slurm/combine.sbatch", mill.run.path, "propose_negatives", out]
    cluster.run("sbatch", f"--dependency=afterany:{second}", f"--output={tmp_path}/combine.out", *combine, cwd=ROOT)
    cluster.wait_for_empty(120)
    assert mill.is_complete(), "".join(path.read_text() for path in tmp_path.glob("*.out"))
    assert mill.digests() == local_digests(mill)
    assert len(out.read_text().splitlines()) == 101
    arrays = {mill.run.manifest("extract_objects", shard).job["SLURM_ARRAY_TASK_ID"] for shard in range(5)}  # type: ignore[union-attr]
    assert arrays == {"0", "1"}


def test_several_stages_as_one_plain_job_array(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=100, shards=5)
    sbatch = ["sbatch", "--parsable", f"--output={tmp_path}/%A_%a.out", "--ntasks-per-node=2", "--cpus-per-task=1", "--array=0-1"]
    cluster.run(*sbatch, "slurm/stage.sbatch", mill.run.path, *mill.run.stages, cwd=ROOT)
    cluster.wait_for_empty(120)
    assert mill.is_complete(), "".join(path.read_text() for path in tmp_path.glob("*.out"))
    assert mill.digests() == local_digests(mill)


def test_a_stage_before_its_input_fails_and_says_what_to_run_first(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path)
    sbatch = ["sbatch", "--parsable", f"--output={tmp_path}/%A_%a.out", "--ntasks-per-node=1", "--array=0-0"]
    job = cluster.run(*sbatch, "slurm/stage.sbatch", mill.run.path, "propose_negatives", cwd=ROOT).strip()
    cluster.wait_for_state(f"{job}_0", "FAILED")
    log = mill.shardmill("logs", mill.run.path, "propose_negatives")
    assert "extract_objects has not finished" in log


def test_a_run_on_nodes_without_a_scheduler(tmp_path: Path) -> None:
    mill = new_mill(None, tmp_path, rows=100, shards=5)  # type: ignore[arg-type]
    site = tmp_path / "site.yaml"
    site.write_text("cpu_workers_per_node: 2\nstages: {extract_objects: {gpus_per_worker: 4}}\n")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "RUN": str(mill.run.path), "SITE": str(site)}
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    nodes = [
        subprocess.Popen([ROOT / "slurm" / "run_node.sh", str(node), "2"], env=environment, stderr=subprocess.PIPE, text=True)
        for node in range(2)
    ]
    output = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], output
    assert mill.is_complete()
    assert mill.digests() == local_digests(mill)
    gpus = {mill.run.manifest("extract_objects", shard).job["CUDA_VISIBLE_DEVICES"] for shard in range(5)}  # type: ignore[union-attr]
    assert gpus <= {"0,1,2,3", "4,5,6,7"}
    again = subprocess.run([ROOT / "slurm" / "run_node.sh", "0", "2"], env=environment, capture_output=True, text=True)
    assert again.returncode == 0
