"""Checks of what a run needs. Each is a line, and one that is not ok says what to do. Nothing here raises."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from shardmill.launch import slurm
from shardmill.launch.cluster_plan import phase_jobs, phase_resources
from shardmill.launch.environment import check_environment
from shardmill.launch.gpus import visible_gpus
from shardmill.launch.job_settings import START_SECONDS, JobSettings, as_options
from shardmill.launch.phases import phase_name, phases_of
from shardmill.launch.site import Site
from shardmill.monitor.checks import Check
from shardmill.monitor.probe_jobs import probe
from shardmill.store.plan import Resources
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import link_if_absent
from shardmill.util.errors import UserError
from shardmill.util.resources import logs_folder
from shardmill.util.words import count_of

CORE = ("polars", "pandas", "pydantic", "submitit")
EXTRAS = {"vllm": ("vllm",), "vision": ("torch", "transformers", "diffusers", "groundingdino-py")}
LOW_DISK = 20 << 30
JOB_SECONDS = 60.0


def examine(site: Site | None, run: Path | None, with_probes: bool = False) -> list[Check]:
    """All checks: of this machine, of a site if one is given, of a run folder if one is given; on nodes if `with_probes`."""
    checks = [*_python(), _gpus()]
    if (logs := logs_folder()) is not None:
        checks.append(_writable("logs", logs))
    if site is not None:
        checks += _site(site)
    if run is not None:
        checks += _run(run, site)
    if site is not None and with_probes:
        folder = run or logs_folder() or Path.cwd()
        checks += probe(site, RunFolder(run) if run is not None and (run / "plan.json").exists() else None, folder)
    return checks


def render(checks: list[Check]) -> Table:
    """The checks for a terminal."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in checks:
        text = check.detail + (f"\n-> {check.remedy}" if check.remedy and check.verdict != "ok" else "")
        table.add_row(Text(check.verdict, style=colours[check.verdict]), Text(check.name), Text(text))
    return table


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    enough = sys.version_info >= (3, 10)
    yield Check("Python", "ok" if enough else "fail", version, "Python 3.10 or later is needed: make PYTHON=python3.11 demo")
    missing = [name for name in CORE if _version(name) is None]
    found = ", ".join(f"{name} {_version(name)}" for name in CORE if name not in missing)
    yield Check("packages", "fail" if missing else "ok", found, f"missing: {', '.join(missing)}; install with: pip install -e .")
    for extra, names in EXTRAS.items():
        there = [f"{name} {_version(name)}" for name in names if _version(name)]
        if len(there) == len(names):
            yield Check(f"extra [{extra}]", "ok", ", ".join(there))
        else:
            found = f"{len(there)} of {len(names)} packages ({', '.join(there)})" if there else "not installed"
            yield Check(f"extra [{extra}]", "ok", f"{found}: needed on GPU nodes only, for real models (env/README.md)")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> Check:
    gpus = visible_gpus()
    if not shutil.which("nvidia-smi"):
        return Check("GPUs here", "ok", "none: fine on a login node and for the embedded models")
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return Check("GPUs here", "fail", "nvidia-smi does not answer", "the driver hangs: use another node")
    if done.returncode != 0:
        return Check("GPUs here", "fail", (done.stderr or done.stdout).strip(), "the driver is broken: use another node")
    return Check("GPUs here", "ok", f"{len(gpus)} visible; {done.stdout.splitlines()[0] if done.stdout else ''}")


def _writable(name: str, folder: Path) -> Check:
    """Whether a folder is writable, has hard links and has room."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            first = Path(inside) / "first"
            first.write_bytes(b"0")
            link_if_absent(first, Path(inside) / "second")
            os.replace(Path(inside) / "second", Path(inside) / "third")
        free = shutil.disk_usage(folder).free
    except (OSError, UserError) as error:
        return Check(name, "fail", f"{folder}: {error}", "name a folder on a disk that you can write to and that has hard links")
    detail = f"{folder}: writable, hard links work, {free >> 30} GB free"
    return Check(name, "ok" if free > LOW_DISK else "warn", detail, "little room; what a run needs: shardmill estimate RUN")


def _site(site: Site) -> Iterator[Check]:
    if site.environment is None:
        yield Check("environment", "ok", "none in the site file: jobs use this Python")
    else:
        try:
            check_environment(site.environment)
            yield Check("environment", "ok", str(site.environment))
        except UserError as error:
            yield Check("environment", "fail", str(error), "fix that line")
    if not slurm.available():
        yield Check("SLURM", "fail", "its commands were not found", "run this on a login node, or use --site local")
        return
    try:
        config = slurm.settings()
    except UserError as error:
        yield Check("SLURM", "fail", str(error), "is the controller up? try: scontrol ping")
        return
    yield Check("SLURM", "ok", f"{config.get('SLURM_VERSION', 'version unknown')}, MaxArraySize {config.get('MaxArraySize')}")
    if site.max_array_size and site.max_array_size > int(config.get("MaxArraySize", 1001)):
        yield Check(
            "array size",
            "fail",
            f"max_array_size is {site.max_array_size}, the cluster allows {config.get('MaxArraySize', 1001)}",
            "lower it in the site file",
        )
    accounting = "enabled" if shutil.which("sacct") and slurm.history(["1"]) is not None else "missing: not needed"
    yield Check("accounting", "ok", accounting)
    for kind, jobs in site.kinds().items():
        yield from _partition(kind, jobs)


def _partition(kind: str, jobs: JobSettings) -> Iterator[Check]:
    name = f"partition {jobs.partition or '(default)'} for {kind}"
    try:
        nodes = slurm.nodes(jobs.partition)
    except UserError as error:
        yield Check(name, "fail", str(error), "see: sinfo")
        return
    if not nodes:
        yield Check(
            name, "fail", "it has no node that is up, or does not exist", "see: sinfo; correct `partition` in the site file"
        )
        return
    yield Check(name, "ok", f"{count_of(len(nodes), 'node')} up")
    try:
        slurm.command("sbatch", "--test-only", *_whole_node(jobs, "GPU" in kind), "--wrap", "true")
        yield Check(f"{name}: a whole node", "ok", "sbatch accepts such a job")
    except UserError as error:
        wrong = "account, qos, constraint, gpu_request, gpus_per_node, cpus_per_node, memory_gb_per_node or max_minutes"
        remedy = f"correct {wrong} in the site file"
        yield Check(f"{name}: a whole node", "fail", str(error), remedy)


def _whole_node(jobs: JobSettings, gpu: bool) -> list[str]:
    """A job that takes all that the site says a node has."""
    resources = Resources(
        gpus_per_worker=jobs.gpus_per_node if gpu else 0,
        cpus_per_worker=jobs.cpus_per_node,
        memory_gb=jobs.memory_gb_per_node,
    )
    options = ["--nodes=1", "--ntasks=1", f"--cpus-per-task={jobs.cpus_per_node}", f"--time={jobs.max_minutes}"]
    return [*options, *as_options(jobs.request(resources, workers=1))]


def _run(path: Path, site: Site | None) -> Iterator[Check]:
    yield _writable("run folder", path)
    if (path / "plan.json").exists():
        yield from _models(RunFolder(path))
        if site is not None:
            yield from _time_limits(RunFolder(path), site)
    if site is not None and slurm.available():
        yield _tiny_job(path, site)
    home = os.environ.get("HF_HOME")
    if home:
        there = Path(home).is_dir()
        free = f", {shutil.disk_usage(home).free >> 30} GB free" if there else ""
        yield Check("HF_HOME", "ok" if there else "fail", f"{home}{free}", "make it, or name another")


def _time_limits(run: RunFolder, site: Site) -> Iterator[Check]:
    """Whether the jobs of each phase have time to start before the signal to stop."""
    short = []
    for phase in phases_of(run.plan.stages, site.resources):
        jobs = phase_jobs(run, site, phase)
        minutes = jobs.time_limit(1, 1, phase_resources(run, site, phase).minutes)
        if minutes * 60 < jobs.signal_seconds + START_SECONDS:
            short.append(f"{phase_name(phase)} ({count_of(minutes, 'minute')})")
    detail = f"jobs save their rows {site.signal_seconds} s before their limit, and may need {START_SECONDS} s to start"
    yield Check(
        "time limits", "warn" if short else "ok", detail + (f"; too short: {', '.join(short)}" if short else ""),
        "raise `minutes` of these stages under `stages` in the site file, or lower `signal_seconds`",
    )  # fmt: skip


def _models(run: RunFolder) -> Iterator[Check]:
    """Models that are named by a path must exist."""
    try:
        stages = run.plan.stages
    except UserError as error:
        yield Check("plan", "fail", str(error))
        return
    for stage in stages:
        for key, value in stage.model.items():
            if isinstance(value, str) and value.startswith(("/", "./", "~")):
                there = Path(value).expanduser().exists()
                yield Check(
                    f"model of {stage.name}", "ok" if there else "fail", f"{key}: {value}", "correct the path; nothing is there"
                )


def _tiny_job(path: Path, site: Site) -> Check:
    """Whether a compute node can write into the run folder: a tiny job tries."""
    name = "write from a node"
    target = path.resolve() / f".doctor-{os.getpid()}-{time.time_ns()}"
    options = as_options(site.jobs(gpu=False).request(Resources(memory_gb=0.1), workers=1))
    script = f"#!/bin/sh\necho written > {shlex.quote(str(target))}\n"
    try:
        job = slurm.submit(script, "--time=1", "--ntasks=1", "--output=/dev/null", *options)
        deadline = time.monotonic() + JOB_SECONDS
        while time.monotonic() < deadline and not target.exists():
            time.sleep(1)
            state = slurm.queue([job]).get(job)
            if state is None or not state.live:
                break
        time.sleep(1)
        if target.exists():
            return Check(name, "ok", f"job {job} wrote to {path}")
        waiting = (state := slurm.queue([job]).get(job)) is not None and state.waiting
        slurm.cancel([job])
    except UserError as error:
        return Check(name, "fail", str(error), "correct the site file")
    finally:
        target.unlink(missing_ok=True)
    if waiting:
        return Check(
            name, "warn", f"job {job} did not start within {JOB_SECONDS:.0f} s, cancelled", "the queue is full: try again later"
        )
    return Check(name, "fail", f"job {job} ended without writing to {path}", "is that folder shared with the compute nodes?")
