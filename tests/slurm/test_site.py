"""What site files ask of a real cluster: a limit of jobs in the queue, and workers in containers."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import Cluster
from slurm.mill import local_digests, new_mill


def test_waves_of_containers_never_have_more_jobs_in_the_queue_than_the_site_allows(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=24, shards=3)
    (tmp_path / "bin").mkdir()
    apptainer = tmp_path / "bin" / "apptainer"
    apptainer.write_text('#!/bin/sh\nshift\nwhile [ "${1#-}" != "$1" ]; do shift; done\nshift\nexec "$@"\n')
    apptainer.chmod(0o755)
    (tmp_path / "mill.sif").touch()
    python = cluster.run("sh", "-c", "command -v python").strip()
    container = {"runtime": "apptainer", "image": "mill.sif", "python": python, "mounts": ["/tmp"]}
    source = str(Path(__file__).parents[2] / "python")
    said = mill.launch(
        "--no-phases", "--shards-per-node", "1", max_jobs=4, container=container,
        prolog=[f"export PATH={tmp_path}/bin:$PATH PYTHONPATH={source}"],
    )  # fmt: skip
    assert "the next wave: job" in said
    queued = []

    def is_done() -> bool:
        queued.append(len([each for each in cluster.squeue() if each.state != "COMPLETING"]))
        return mill.is_complete() and not cluster.squeue()

    cluster.wait_until(is_done, 300, "waves have done all shards")
    assert max(queued) <= 4
    assert len(mill.jobs.submissions()) > 2
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
