"""Launching on a SLURM cluster: one job array per phase, chained element by element, and a last job that builds.

submitit writes the job scripts; what a job is to do is a JSON file (`launch.job_file`), so that no job reads a pickle.

Nothing here imports a model, and nothing stays running: the jobs need no launcher. What was submitted is recorded in `RUN/jobs/`
after each `sbatch`, so that launching again submits what is missing and never what is in the queue. A launch that is killed
between an `sbatch` and its record leaves a job without one; the next launch finds it by its name, and refuses to submit it twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shardmill.core.user_code import allowed_code
from shardmill.launch import slurm
from shardmill.launch.assignment import Assignment
from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.elements import ElementArray
from shardmill.launch.job_file import FinishWork, JobFile, NextWave
from shardmill.launch.job_script import job_files, job_script
from shardmill.launch.job_settings import JobSettings
from shardmill.launch.phases import Phase
from shardmill.launch.sharing import share_with_group
from shardmill.launch.site import Site
from shardmill.launch.waves import jobs_in_queue
from shardmill.store.jobs import ArrayRecord, JobsFolder, Submission
from shardmill.store.plan import Resources
from shardmill.store.task_logs import TaskLogs
from shardmill.util.atomic import replacing
from shardmill.util.words import count_of

NICE_STEP = 10
SBATCH_SECONDS = 300
FINISH_MINUTES = 120
FINISH_CPUS = 4
LIMITS = "say in the site file how many jobs you may have in the queue (max_jobs: 40), so that they are submitted in waves,"
RETRY_MINUTES = 10
"""When to look again for room in a queue that is full of other jobs of the user."""
FINISH_MEMORY_GB = 16


def submit(plan: ClusterPlan, say: Callable[[str], None], *, build: bool = True) -> Submission:
    """Submit the arrays of a plan and the job that builds at the end. Raises UserError when `sbatch` refuses one."""
    jobs = JobsFolder(plan.run)
    earlier = jobs.submissions()
    submission = Submission(site=plan.site.reference, group=plan.group, max_parallel=plan.max_parallel, by_stage=plan.by_stage)
    path, own_job = jobs.add_submission(submission), slurm.job_id()
    make_log_folder(plan)
    if plan.site.text:
        keep_site(plan.site, jobs.path / "sites" / f"{path.stem}.yaml")
    if plan.site.group is not None:
        share_with_group([plan.run.path, plan.log_folder], plan.site.group)
    with outside_of_jobs():
        for job, share in plan.lowered.items():
            slurm.set_parallel(job, share)
        for array in plan.arrays:
            array.job = _sbatch(plan, f"the array of {array.name}", job_file(plan, array), script(plan, array))
            submission.arrays.append(_record(plan, array))
            jobs.update_submission(path, submission)
            counts = f"{count_of(len(array.elements), 'element')}, {count_of(array.shards, 'shard')}"
            say(f"{', '.join(array.stages)}: job {array.job}, {counts}")
        if build or plan.postponed:
            old = [each.finish for each in earlier if each.finish and each.finish != own_job]
            slurm.cancel(job for job in slurm.queue(old) if job in old)
            submission.finish = _submit_finish(plan, submission, earlier, build)
            jobs.update_submission(path, submission)
            say(f"{'the next wave' if plan.postponed else 'datasets'}: job {submission.finish}")
    return submission


def keep_site(site: Site, path: Path) -> None:
    """Keep the site file of a launch in the run folder, for people: no command reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(site.text.encode("utf-8"))


def make_log_folder(plan: ClusterPlan) -> None:
    """Make the folder of the run's logs; where the site has its logs elsewhere, a link leads there."""
    (plan.log_folder / "slurm").mkdir(parents=True, exist_ok=True)
    link = TaskLogs(plan.run).folder
    if plan.logs is None and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(plan.log_folder)


def _record(plan: ClusterPlan, array: ElementArray) -> ArrayRecord:
    resources, workers = plan.resources(array.stages), plan.workers(array)
    return ArrayRecord(
        job=array.job,
        stages=list(array.stages),
        elements=array.elements,
        workers=workers,
        gpus=resources.gpus_per_worker * workers,
        cpus=resources.cpus_per_worker * workers,
        minutes=plan.minutes(array),
        depends=dependency(array, plan.site.dependencies) or "",
        chained_to=[job_of(array.chained_to)] if array.chained_to is not None else [],
        parallel=array.parallel,
    )


def job_of(array: ElementArray | str) -> str:
    """The job id of an array, submitted now or before."""
    return array if isinstance(array, str) else array.job or f"<job of {array.name}>"


def dependency(array: ElementArray, style: str = "aftercorr") -> str | None:
    """What the array waits for, as an option of sbatch. SLURM removes a job whose condition cannot come true any more.

    Elements wait for each other with `aftercorr`, whole arrays with `afterok`, by the site's `style`.
    """
    parts = []
    if array.after:
        parts.append((f"{style}:" if len(array.elements) > 1 else "afterok:") + ":".join(map(job_of, array.after)))
    if array.after_all:
        parts.append("afterok:" + ":".join(map(job_of, array.after_all)))
    if array.waits_for:
        parts.append("afterany:" + ":".join(array.waits_for))
    if array.chained_to is not None:
        parts.append(f"afterany:{job_of(array.chained_to)}")
    return ",".join(parts) or None


def parameters(plan: ClusterPlan, array: ElementArray) -> dict[str, Any]:
    """The sbatch parameters of an array, by submitit's names."""
    resources, workers = plan.resources(array.stages), plan.workers(array)
    options: dict[str, Any] = {
        "job_name": f"{plan.job_name}.{array.name}",
        "ntasks_per_node": workers,
        "cpus_per_task": resources.cpus_per_worker,
        "time": plan.minutes(array),
        "array_parallelism": array.parallel,
        "srun_args": srun_options(resources.cpus_per_worker),
        "dependency": dependency(array, plan.site.dependencies),
    }
    jobs = plan.jobs(array)
    common = _common(plan, jobs, resources, workers)
    return {**options, **common, "additional_parameters": {"nice": nice(plan, array.stages), **common["additional_parameters"]}}


def nice(plan: ClusterPlan, stages: Phase) -> int:
    """Lower the priority of earlier phases, or a shard would wait in each phase until all others are through the one before."""
    position = next(index for index, phase in enumerate(plan.phases) if stages[0] in phase)
    return NICE_STEP * (len(plan.phases) - 1 - position)


def srun_options(cpus: int) -> list[str]:
    """More options of `srun`: from SLURM 22.05 on it does not take --cpus-per-task from `sbatch`; and whatever the site's
    defaults, a task that ends early or fails must not end the others.
    """
    return ["--cpus-per-task", str(cpus), "--kill-on-bad-exit=0", "--wait=0"]


def _common(plan: ClusterPlan, jobs: JobSettings, resources: Resources, workers: int) -> dict[str, Any]:
    """What all jobs have, and what they ask for."""
    return {
        "exclude": plan.excluded(jobs) or None,
        "nodes": 1,
        "signal_delay_s": jobs.signal_seconds,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {"requeue": True, "kill_on_invalid_dep": "yes", **jobs.request(resources, workers)},
    }


def assignment(plan: ClusterPlan, array: ElementArray, shards: list[int]) -> Assignment:
    """The assignment of the worker supervisors of an element: the run, the stages and the shards."""
    resources, site = plan.resources(array.stages), plan.site
    return Assignment(
        run=str(plan.run.path.resolve()),
        stages=array.stages,
        shards=tuple(shards),
        logs=str(plan.log_folder),
        gpus_per_worker=resources.gpus_per_worker,
        cpus=resources.cpus_per_worker * plan.workers(array),
        scratch=site.scratch,
        health_check=tuple(site.health_check),
        partition=plan.jobs(array).partition,
        exclude=plan.excluded(plan.jobs(array)),
    )


def job_file(plan: ClusterPlan, array: ElementArray) -> JobFile:
    """The work of an array. Code that this command named travels with it, never with the plan."""
    return JobFile(elements=tuple(assignment(plan, array, shards) for shards in array.elements), code=allowed_code())


def script(plan: ClusterPlan, array: ElementArray) -> str:
    """The text of an array's job script, as it is given to sbatch."""
    count = len(array.elements) if len(array.elements) > 1 else None
    return job_script(plan, job_file(plan, array), parameters(plan, array), count)


def _sbatch(plan: ClusterPlan, what: str, job: JobFile, text: str) -> str:
    """Submit a job script; returns the job's id. Raises SlurmError if sbatch refuses it."""
    job.write(job_files(plan.run))
    try:
        return slurm.submit(text, timeout=SBATCH_SECONDS)
    except slurm.SlurmError as error:
        fix = LIMITS if any(word in str(error) for word in ("Submit", "submit limit")) else "fix that"
        raise slurm.SlurmError(
            f"sbatch refused {what}: {error}; what was submitted before it stays submitted; {fix} and launch again"
        ) from None


def _submit_finish(plan: ClusterPlan, submission: Submission, earlier: list[Submission], build: bool) -> str:
    """Submit the job after the others; if elements are postponed, after half of them: it submits the next wave."""
    arrays = [*(array for each in earlier for array in each.arrays), *submission.arrays]
    waited = jobs_in_queue(arrays, plan.live, {array.job for array in submission.arrays})
    jobs = plan.site.jobs(gpu=False)
    resources = Resources(
        cpus_per_worker=min(FINISH_CPUS, jobs.cpus_per_node), memory_gb=min(FINISH_MEMORY_GB, jobs.memory_gb_per_node)
    )
    if plan.postponed:
        waited = waited[: -(-len(waited) // 2)]
    options = {
        "job_name": f"{plan.job_name}.build",
        "ntasks_per_node": 1,
        "cpus_per_task": resources.cpus_per_worker,
        "time": min(FINISH_MINUTES, jobs.max_minutes),
        "dependency": "afterany:" + ":".join(waited) if waited else None,
        **_common(plan, jobs, resources, workers=1),
    }
    if plan.postponed and not waited:
        options["additional_parameters"]["begin"] = f"now+{RETRY_MINUTES}minutes"
    job = JobFile(finish=finish_work(plan, build), code=allowed_code())
    return _sbatch(plan, "the last job", job, job_script(plan, job, options))


def finish_work(plan: ClusterPlan, build: bool) -> FinishWork:
    """What the last job does."""
    wave = NextWave(
        site=plan.site.packed(), logs=str(plan.log_folder), group=plan.group, max_parallel=plan.max_parallel,
        by_stage=plan.by_stage, finished=plan.finished if plan.arrays or plan.live else None, build=build,
    ) if plan.postponed else None  # fmt: skip
    return FinishWork(str(plan.run.path.resolve()), str(plan.log_folder / "build.log"), wave)


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide the variables of the job that this process may be in: sbatch would read them as options of the new job."""
    hidden = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
