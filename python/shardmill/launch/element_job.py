"""What submitit runs on a node: an element of a job array, or the job at the end that builds the datasets.

Both are plain data that name a run folder, so the pickles that submitit keeps hold no state: a job that starts again looks at the
files. submitit's own checkpointing and result files are kept out of the way, since they know only the first task of a job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shardmill.launch.place import Assignment, Signals, here
from shardmill.launch.slot import Slot
from shardmill.launch.worker_main import write_to
from shardmill.util.exits import user_errors


@dataclass(frozen=True)
class ElementJob:
    """One SLURM task of an element: a slot."""

    work: Assignment

    def __call__(self) -> None:
        forget_unfinished_results()
        code = run_element(self.work)
        if code:
            sys.exit(code)


@dataclass(frozen=True)
class FinishJob:
    """The job after all others: builds the datasets if every shard stands, else says what is missing."""

    run: str
    log: str

    def __call__(self) -> None:
        from shardmill.launch.finish import finish

        forget_unfinished_results()
        log = Path(self.log)
        write_to(log, "finish")
        with user_errors():
            sys.exit(finish(Path(self.run)))


def run_element(work: Assignment) -> int:
    """Be one slot of an element, in this process; returns the exit code. All that is printed goes to the slot's own log."""
    signals = Signals()
    slot = Slot(work, here(work.gpus_per_worker), signals)
    slot.log.parent.mkdir(parents=True, exist_ok=True)
    write_to(slot.log, f"slot {slot.place.slot} of {slot.place.slots} for {work.stage}, node {slot.place.node}")
    return slot()


def forget_unfinished_results() -> None:
    """Remove the temporary result files of an earlier start of this job: submitit refuses to go on where it finds one."""
    folder = os.environ.get("SUBMITIT_FOLDER")
    if not folder:
        return
    import submitit

    result = submitit.JobEnvironment().paths.result_pickle
    for path in result.parent.glob(f"{result.name}*save_tmp"):
        path.unlink(missing_ok=True)


def main(argv: Sequence[str]) -> int:
    """`python -m shardmill.launch.element_job RUN STAGE`: a slot in a plain `sbatch --array` job, or of `run_node`."""
    from shardmill.launch.plain import assignment_here

    with user_errors():
        return run_element(assignment_here(*argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
