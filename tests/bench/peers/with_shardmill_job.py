"""Shardmill without its launcher: the run is planned, and its stage is done in one process, as a job on a cluster does it."""

from __future__ import annotations

import os
import subprocess
import sys

from job import Job, main
from with_shardmill import STAGE, prepare, read


def run(job: Job) -> None:
    file, environment = prepare(job)
    command = [sys.executable, "-m", "shardmill"]
    folder = str(job.out / "run")
    subprocess.run([*command, "shard", job.table, "--pipeline", file, "--run", folder], env=environment, check=True)
    os.execve(sys.executable, [*command, "run", folder, STAGE], environment)


if __name__ == "__main__":
    main(run, read)
