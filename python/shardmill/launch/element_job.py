"""What submitit runs on a node: an element of a job array, or the job at the end that builds the datasets.

Both are plain data that name a run folder, so the pickles that submitit keeps hold no state: a job that starts again reads the
files. submitit's own checkpointing and result files are kept out of the way, since they know only the first task of a job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shardmill.core.user_code import allow_all
from shardmill.launch.assignment import Assignment, JobSignals, array_task_assignment, worker_context
from shardmill.launch.element import Element
from shardmill.launch.worker_main import write_to
from shardmill.util.exits import user_errors


@dataclass(frozen=True)
class ElementJob:
    """One SLURM task of an element: a supervisor with one worker.

    Attributes:
        work: What the element does.
        code: The references to code of the user's that the launching command named, with their files. They travel with the job,
            which the user's own command made; the run folder, which may be a stranger's, is never consulted.
    """

    work: Assignment
    code: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        forget_unfinished_results()
        allow_all(self.code)
        code = run_element(self.work)
        if code:
            sys.exit(code)


@dataclass(frozen=True)
class FinishJob:
    """The job after all others: builds the datasets if every shard is finished, else says what is missing.

    Attributes:
        run: The run folder.
        log: Where it prints.
        code: As in ElementJob.
    """

    run: str
    log: str
    code: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        from shardmill.launch.finish import finish

        forget_unfinished_results()
        allow_all(self.code)
        write_to(Path(self.log), "finish")
        with user_errors():
            sys.exit(finish(Path(self.run)))


def run_element(work: Assignment) -> int:
    """Supervise one worker of an element in this process; returns the exit code. All that is printed goes to the worker's log."""
    signals = JobSignals()
    element = Element(work, worker_context(work.gpus_per_worker), signals)
    element.log.parent.mkdir(parents=True, exist_ok=True)
    context = element.context
    write_to(element.log, f"worker {context.number} of {context.workers} for {work.stage}, node {context.node}")
    return element.run_shards()


def forget_unfinished_results() -> None:
    """Remove the temporary result files of an earlier start of this job: submitit refuses to continue where it finds one."""
    folder = os.environ.get("SUBMITIT_FOLDER")
    if not folder:
        return
    import submitit

    result = submitit.JobEnvironment().paths.result_pickle
    for path in result.parent.glob(f"{result.name}*save_tmp"):
        path.unlink(missing_ok=True)


def main(argv: Sequence[str]) -> int:
    """`python -m shardmill.launch.element_job RUN STAGE`: a worker in a plain `sbatch --array` job."""
    with user_errors():
        return run_element(array_task_assignment(*argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
