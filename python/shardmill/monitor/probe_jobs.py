"""Probe jobs of `shardmill doctor --probe`: one of a minute for each kind of jobs, and what they found."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shardmill.launch import slurm
from shardmill.launch.cluster_plan import phase_jobs, phase_resources
from shardmill.launch.job_script import mount_points, needed_by_site, site_script
from shardmill.launch.job_settings import JobSettings
from shardmill.launch.phases import phase_name, phases_of
from shardmill.launch.probe import HUB_NAME, Probe
from shardmill.launch.site import Site
from shardmill.launch.submit import outside_of_jobs, srun_options
from shardmill.monitor.checks import Check
from shardmill.store.plan import Resources
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.untrusted import CorruptRecord, read_model

PROBE_MINUTES = 1
WAIT_SECONDS = 300.0
SHARE_OF_MEMORY = 0.9
"""Of the memory that a node is said to have, the kernel and the system keep a part."""


@dataclass
class _Kind:
    """Jobs of a kind: what a worker of them gets, and the models that it loads."""

    name: str
    jobs: JobSettings
    resources: Resources
    models: list[str]


def probe(site: Site, run: RunFolder | None, folder: Path) -> Iterator[Check]:
    """Submit a probe for each phase of the run, or each kind of jobs of the site, and say what the nodes have.

    `folder` is one that compute nodes share, for the answers.
    """
    kinds = list(_kinds(site, run))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as inside, outside_of_jobs():
        submitted: dict[str, tuple[_Kind, Path]] = {}
        for number, kind in enumerate(kinds):
            try:
                answer = Path(inside).resolve() / f"{number}.json"
                submitted[slurm.submit(_script(site, kind, answer))] = (kind, answer)
            except UserError as error:
                yield Check(f"probe of {kind.name}", "fail", str(error), "correct the site file")
        _wait(submitted)
        for job, (kind, answer) in submitted.items():
            yield from _found(site, kind, job, answer)


def _kinds(site: Site, run: RunFolder | None) -> Iterator[_Kind]:
    if run is None:
        for name, jobs in site.kinds().items():
            yield _Kind(name, jobs, Resources(gpus_per_worker=int("GPU" in name), memory_gb=1), [])
        return
    for phase in phases_of(run.plan.stages, site.resources):
        specs = [run.stage(stage).model.get("model") for stage in phase]
        models = sorted({name for name in specs if isinstance(name, str) and (name.startswith("/") or HUB_NAME.fullmatch(name))})
        yield _Kind(phase_name(phase), phase_jobs(run, site, phase), phase_resources(run, site, phase), models)


def _script(site: Site, kind: _Kind, answer: Path) -> str:
    words = [str(answer), site.scratch or "", *kind.models]
    options = {
        "job_name": "shardmill.probe",
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": kind.resources.cpus_per_worker,
        "time": PROBE_MINUTES,
        "signal_delay_s": 5,
        "exclude": kind.jobs.exclude,
        "srun_args": srun_options(kind.resources.cpus_per_worker),
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": kind.jobs.request(kind.resources, workers=1),
    }
    needed = [str(answer.parent), *needed_by_site(site), *(model for model in kind.models if model.startswith("/"))]
    mounts = list(mount_points(needed)) if site.container is not None else []
    program = f"-m shardmill.launch.probe {shlex.join(words)}"
    return site_script(site, program, options, answer.parent, answer.parent, mounts, bool(kind.resources.gpus_per_worker))


def _wait(submitted: dict[str, tuple[_Kind, Path]]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while time.monotonic() < deadline:
            queue = slurm.queue(list(submitted))
            open_jobs = [
                job for job, (_, answer) in submitted.items() if not answer.exists() and job in queue and queue[job].live
            ]
            if not open_jobs:
                break
            time.sleep(1)
        time.sleep(1)  # a network file system may be late
    finally:
        slurm.cancel([job for job, state in slurm.queue(list(submitted)).items() if state.live])


def _found(site: Site, kind: _Kind, job: str, answer: Path) -> Iterator[Check]:
    name = f"probe of {kind.name}"
    try:
        found = read_model(answer, Probe)
    except FileNotFoundError:
        printed = "".join(path.read_text(errors="replace") for path in sorted(answer.parent.glob(f"{job}_*_log.out")))
        lines = [line for line in printed.splitlines() if line.strip()]
        if lines:
            yield Check(name, "fail", f"job {job}: {lines[-1][:300]}", "correct the site file, or the environment")
        else:
            yield Check(
                name, "warn", f"job {job} did not start or answer within {WAIT_SECONDS:.0f} s, cancelled", "try again later"
            )
        return
    except CorruptRecord as error:
        yield Check(name, "fail", f"job {job}: {error}", "is Shardmill on the nodes of another version?")
        return
    faults = list(_faults(site, kind, found))
    gpus = f"{found.gpus} GPUs" + ("" if found.node_gpus is None else f" of {found.node_gpus}")
    has = [gpus, f"{found.cpus} CPUs", f"{found.memory_gb:.0f} GB", f"Python {found.python}"]
    has += [f"{package} {version}" for package, version in found.packages.items()]
    has += [f"scratch {found.scratch_gb} GB free"] if found.scratch_gb is not None else []
    has += [f"hub cache {found.hub_cache}" + (", offline" if found.offline else "")] if found.hub_cache else []
    detail = f"job {job} on {found.node}: {', '.join(has)}"
    yield Check(name, "fail" if faults else "ok", "; ".join([detail, *(fault for fault, _ in faults)]),
                "; ".join(remedy for _, remedy in faults))  # fmt: skip


def _faults(site: Site, kind: _Kind, found: Probe) -> Iterator[tuple[str, str]]:
    """What the node does not have, and what to do."""
    jobs, wanted = kind.jobs, kind.resources.gpus_per_worker
    if found.gpus < wanted:
        yield f"it sees {found.gpus} of the {wanted} GPUs that a worker needs", "correct gpu_request, gpu_type or the partition"
    if wanted and found.node_gpus is not None and found.node_gpus < jobs.gpus_per_node:
        yield f"gpus_per_node is {jobs.gpus_per_node}", f"gpus_per_node: {found.node_gpus}"
    if found.cpus < jobs.cpus_per_node:
        yield f"cpus_per_node is {jobs.cpus_per_node}", f"cpus_per_node: {found.cpus}"
    if found.memory_gb < SHARE_OF_MEMORY * jobs.memory_gb_per_node:
        yield f"memory_gb_per_node is {jobs.memory_gb_per_node}", f"memory_gb_per_node: {int(found.memory_gb)}"
    if found.scratch_problem:
        yield f"scratch: {found.scratch_problem}", "correct scratch in the site file"
    if found.missing_models:
        yield f"not in the hub cache: {', '.join(found.missing_models)}", "download them on the login node (hf download MODEL)"
