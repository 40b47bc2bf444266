"""The text of a job script: submitit writes it, and what a site needs around the command is added."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shardmill.core.user_code import allowed_code
from shardmill.launch import relay
from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.container import ISOLATE
from shardmill.launch.element_job import JOB_FILE
from shardmill.launch.environment import PATHS, check_environment, setup_lines
from shardmill.launch.job_file import JobFile
from shardmill.launch.site import Site
from shardmill.launch.time_warning import catching
from shardmill.store.image_columns import INPUT_IMAGE
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError


def job_script(plan: ClusterPlan, job: JobFile, options: dict[str, Any], elements: int | None = None) -> str:
    """A job script by submitit, whose command names the job file and its digest: no pickle is written or read.

    Args:
        plan: What is launched.
        job: What the job is to do.
        options: The options of sbatch, by submitit's names.
        elements: The length of the array; None for a plain job.
    """
    file = job_files(plan.run) / f"{job.digest}.json"
    program = f"-m shardmill.launch.element_job {JOB_FILE} {shlex.quote(str(file))} {job.digest}"
    gpu = any(work.gpus_per_worker for work in job.elements)
    mounts = list(mount_points(_needed(plan))) if plan.site.container is not None else []
    return site_script(plan.site, program, options, plan.log_folder / "slurm", plan.run.path.resolve(), mounts, gpu, elements)


def site_script(
    site: Site,
    program: str,
    options: dict[str, Any],
    logs: Path,
    folder: Path,
    mounts: Sequence[str] = (),
    gpu: bool = False,
    elements: int | None = None,
) -> str:
    """A job script of a site.

    Args:
        site: The site.
        program: The arguments of Python.
        options: The options of sbatch, by submitit's names.
        logs: Where SLURM writes what a job prints before its own log is open: no link of another user can be waiting there.
        folder: The working directory in a container.
        mounts: What a container needs of the folders outside.
        gpu: Whether a container needs GPUs.
        elements: The length of the array; None for a plain job.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{job_python(site)} -u {program}"
    if site.container is not None:
        command = site.container.command(command, mounts, str(folder), gpu)
    text: str = _make_sbatch_string(command=command, folder=logs, map_count=elements, setup=_setup(site), **options)
    return catching(text)


def _setup(site: Site) -> list[str] | None:
    """What a job does before its command."""
    lines = [f"umask {site.umask}"] if site.umask else []
    if "export" in site.sbatch:
        lines.append("unset SLURM_EXPORT_ENV  # srun would give its tasks no more than sbatch gave the job")
    if site.container is None:
        lines += [*site.prolog, *setup_lines(site)]
    else:
        lines += [ISOLATE, *site.prolog, *setup_lines(site), *site.container.node_checks(), relay.SERVE]
    return lines or None


def job_files(run: RunFolder) -> Path:
    """Where job files are."""
    return run.path.resolve() / "jobs" / "arrays"


def job_python(site: Site) -> str:
    """The Python of a job: that of the container, of the site's environment, which the job activates, or else this one."""
    if site.container is not None:
        return shlex.quote(site.container.python)
    return "python" if site.environment is not None else shlex.quote(sys.executable)


def mount_points(needed: Iterable[str]) -> Iterator[str]:
    """The files and folders of those that workers in a container need, none twice or inside of another.

    Raises:
        UserError: If the name of one has a character that mounts cannot have.
    """
    found = sorted({os.path.abspath(path) for path in needed if path})
    for path in found:
        if any(path != other and path.startswith(f"{other.rstrip('/')}/") for other in found):
            continue
        if any(character in path for character in ":,\n"):
            raise UserError(f"{path} has a colon or comma in its name, so it cannot be mounted in a container; rename it")
        yield path


def _needed(plan: ClusterPlan) -> Iterator[str]:
    run = plan.run
    yield str(run.path.resolve())
    yield str(plan.log_folder)
    if INPUT_IMAGE in run.plan.input.mapping.values():
        yield run.plan.input.image_root
    for stage in run.plan.stages:
        yield from (value for value in stage.model.values() if isinstance(value, str) and value.startswith("/"))
    yield from (path for path in allowed_code().values() if path.startswith("/"))
    yield from needed_by_site(plan.site)


def needed_by_site(site: Site) -> Iterator[str]:
    """The folders and files of a site that its jobs need, whatever they do."""
    yield site.scratch or ""
    if site.environment is not None:
        values = check_environment(site.environment, site.container is not None)
        yield from (values[name] for name in PATHS if name not in ("BASE_DIR", "TMP_DIR") and name in values)
        yield str(site.environment)
