"""What a job runs on a node: an element of a job array, or the job at the end that builds the datasets.

A job that starts again reads the files of the run; nothing else is kept of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shardmill.core.user_code import allow_all
from shardmill.launch.assignment import Assignment, JobSignals, array_task_assignment, worker_context
from shardmill.launch.element import Element
from shardmill.launch.finish import finish
from shardmill.launch.job_file import read_job_file
from shardmill.launch.worker_main import write_to
from shardmill.util.exits import user_errors

JOB_FILE = "--job-file"


def run_job(path: Path, digest: str) -> int:
    """Do what a job file says for this element of its array; returns the exit code.

    Raises:
        UserError: If the file is not the one that was submitted.
    """
    job = read_job_file(path, digest)
    allow_all(job.code)
    if job.finish is None:
        return run_element(job.elements[int(os.environ.get("SLURM_ARRAY_TASK_ID") or 0)])
    write_to(Path(job.finish.log), "finish")
    run = Path(job.finish.run)
    if job.finish.wave is None:
        return finish(run)
    from shardmill.launch.next_wave import submit_next_wave

    return submit_next_wave(run, job.finish.wave)


def run_element(work: Assignment) -> int:
    """Supervise one worker of an element in this process; returns the exit code. All that is printed goes to the worker's log."""
    signals = JobSignals()
    element = Element(work, worker_context(work.gpus_per_worker), signals)
    element.log.parent.mkdir(parents=True, exist_ok=True)
    context = element.context
    write_to(element.log, f"worker {context.number} of {context.workers} for {', '.join(work.stages)}, node {context.node}")
    return element.run_shards()


def main(argv: Sequence[str]) -> int:
    """The command of a job script.

    `--job-file FILE DIGEST` does what a launch has submitted; `RUN STAGE …` is a worker in a plain `sbatch --array` job.
    """
    with user_errors():
        if argv[:1] == [JOB_FILE]:
            return run_job(Path(argv[1]), argv[2])
        return run_element(array_task_assignment(*argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
