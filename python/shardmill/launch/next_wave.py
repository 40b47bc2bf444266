"""The job at the end of a wave: it submits the next one, as the launching command submitted the first."""

from __future__ import annotations

from pathlib import Path
from time import sleep

from shardmill.launch.cluster_plan import plan_launch
from shardmill.launch.finish import finish
from shardmill.launch.job_file import NextWave
from shardmill.launch.launch_lock import one_launch_at_a_time
from shardmill.launch.site import Site
from shardmill.launch.slurm import SlurmError
from shardmill.launch.submit import submit
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.util.commands import command_line
from shardmill.util.terminal import echo

ATTEMPTS, PAUSE_SECONDS = 5, 20.0
"""A controller that does not answer just now must not end a run that nobody looks at."""


def submit_next_wave(path: Path, wave: NextWave) -> int:
    """Submit what a run has left, as far as the queue has room for it; returns the exit code.

    If the jobs of the wave before have finished nothing, nothing is submitted: they would fail again and again.

    Raises:
        SlurmError: If SLURM does not answer, or refuses, ATTEMPTS times.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _submit_wave(path, wave)
        except SlurmError as error:  # what was submitted before it is in the queue, and is not submitted again
            echo(f"{error}; trying again in {PAUSE_SECONDS:g} s", err=True)
            sleep(PAUSE_SECONDS)
    return _submit_wave(path, wave)


def _submit_wave(path: Path, wave: NextWave) -> int:
    run = RunFolder(path)
    with one_launch_at_a_time(JobsFolder(run)):
        plan = plan_launch(
            run, Site.unpacked(wave.site), max_parallel=wave.max_parallel, group=wave.group, by_stage=wave.by_stage
        )
        plan.logs = Path(wave.logs)
        if plan.arrays or plan.live or plan.postponed:
            if plan.finished == wave.finished and not plan.live:
                again = command_line("launch", run.plan.pipeline, "--run", path, "--site", plan.site.reference)
                echo(f"no shard was finished by the jobs before: see {command_line('failures', path)}, then {again}", err=True)
                return 1
            submit(plan, echo, build=wave.build)
            return 0
    return finish(path) if wave.build else 0
