"""How far a run is: told from its files first, then from SLURM; right while workers run, and while none does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from shardmill.launch.jobs import JobsFolder
from shardmill.launch.progress import closing_lines
from shardmill.launch.tasks import needed_shards
from shardmill.report.cluster_state import ClusterState, read_cluster
from shardmill.shards.claims import live_blocks
from shardmill.shards.manifest import Manifest, totals
from shardmill.shards.run_folder import INGEST, RunFolder

ALIVE_SECONDS = 120.0
"""An unfinished shard whose journal was written to within this time counts as running."""
SHOWN_SLOW = 3


@dataclass
class SlowShard:
    """A shard that took longest for its stage: its seconds, and how many times the median that is."""

    shard: int
    seconds: float
    times_median: float
    host: str


@dataclass
class StageStatus:
    """One stage. A shard is done, running, queued (its job waits, or has not come to it), failed (quarantined), or waiting.

    `rows_running` are finished rows of unfinished shards; `rows_per_second` is what one worker does, `eta_seconds` is for the
    workers that run now (for one, if none does). `held_hours` counts nodes held times their hours, `gpu_hours` their GPUs.
    """

    stage: str
    shards: int
    done: int = 0
    running: int = 0
    queued: int = 0
    failed: int = 0
    waiting: int = 0
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    rows_running: int = 0
    rows_per_second: float | None = None
    eta_seconds: float | None = None
    held_hours: float = 0.0
    gpu_hours: float = 0.0
    gpu_hours_left: float | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slowest: list[SlowShard] = field(default_factory=list)


@dataclass
class RunStatus:
    """A run: its stages, what it cost, what SLURM says, and what to do next.

    `goodput` is accepted rows of the last stages per GPU-hour that was allocated, None where no GPU was. `cluster` has how many
    elements run, why others wait, the state of the job that builds, and why SLURM did not answer, if it did not.
    """

    run: str
    pipeline: str
    rows: int
    stages: list[StageStatus]
    closing: list[str]
    next: str
    gpu_hours: float = 0.0
    goodput: float | None = None
    bad_nodes: dict[str, str] = field(default_factory=dict)
    cluster: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    live: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields of this class and of StageStatus by their names."""
        return asdict(self)


def read_status(run: RunFolder) -> RunStatus:
    """The status of a run now. Each manifest is read once, each folder listed once."""
    jobs = JobsFolder(run)
    cluster = read_cluster(jobs)
    needed = needed_shards(run)
    complete = run.complete()
    stages = [_stage_status(run, jobs, stage, needed, complete, cluster) for stage in [INGEST, *run.stages]]
    status = RunStatus(str(run.path), run.plan.pipeline, run.plan.input.rows, stages, [], "")
    status.gpu_hours = sum(stage.gpu_hours for stage in stages)
    leaves = run.leaves()
    if status.gpu_hours:
        status.goodput = sum(stage.rows_out for stage in stages if stage.stage in leaves) / status.gpu_hours
    status.bad_nodes = {bad.node: bad.reason for bad in jobs.bad_nodes()}
    if cluster.jobs or cluster.silent:
        status.cluster = {
            "elements_running": cluster.elements_running,
            "waiting": cluster.waiting,
            "build": cluster.finish,
            "silent": cluster.silent,
        }
    status.finished = all(stage.done >= stage.shards for stage in stages)
    status.closing = closing_lines(run) if status.finished else []
    status.live = cluster.live or any(stage.running for stage in stages)
    status.next = _next_step(run, jobs, status, cluster)
    return status


def exit_code(status: RunStatus) -> int:
    """For scripts: 0 everything is finished, 1 shards failed and nothing goes on, 3 it goes on or is yet to."""
    if status.finished:
        return 0
    return 1 if any(stage.failed for stage in status.stages) and not status.live else 3


def _stage_status(
    run: RunFolder,
    jobs: JobsFolder,
    stage: str,
    needed: int,
    complete: Mapping[tuple[str, int], Manifest],
    cluster: ClusterState,
) -> StageStatus:
    status = StageStatus(stage, needed)
    done = {shard: complete[stage, shard] for shard in range(needed) if (stage, shard) in complete}
    aside = {} if stage == INGEST else jobs.quarantined(stage)
    journals = _journals(run.folder(stage))
    claimed = _claimed(run, stage)
    for shard in range(needed):
        if shard in done:
            continue
        alive, rows = _journal_state(journals.get(shard, []))
        status.rows_running += rows
        job = cluster.jobs.get((stage, shard))
        if shard in aside:
            status.failed += 1
            failure = aside[shard]
            where = f" on {failure.node}" if failure.job else ""
            status.failures.append(f"shard {shard}{where}: {failure.message} (log: {failure.log})")
        elif alive or shard in claimed:
            status.running += 1
        elif job is not None and job.live:
            status.queued += 1
        else:
            status.waiting += 1
    _add_totals(run, jobs, status, done)
    return status


def _add_totals(run: RunFolder, jobs: JobsFolder, status: StageStatus, done: Mapping[int, Manifest]) -> None:
    sums = totals(done.values())
    status.done = len(done)
    status.rows_in, status.rows_out, status.rejected = sums["rows_in"], sums["rows_out"], sums["rejected"]
    status.reasons = dict(sorted(sums["reasons"].items(), key=lambda item: -item[1]))
    status.slowest = _slowest(done)
    for held in jobs.allocations():
        if held.stage == status.stage:
            hours = ((held.ended or time.time()) - held.started) / 3600
            status.held_hours += hours
            status.gpu_hours += hours * held.gpus
    if sums["seconds"] and sums["rows_in"]:
        status.rows_per_second = sums["rows_in"] / sums["seconds"]
        left = max(sums["rows_in"] / len(done) * (status.shards - len(done)) - status.rows_running, 0)
        status.eta_seconds = left / status.rows_per_second / max(status.running, 1)
        if status.gpu_hours:
            status.gpu_hours_left = status.gpu_hours * left / sums["rows_in"]


def _slowest(done: Mapping[int, Manifest]) -> list[SlowShard]:
    if len(done) < 2:
        return []
    middle = median(manifest.seconds for manifest in done.values()) or 1e-3
    worst = sorted(done.items(), key=lambda item: -item[1].seconds)[:SHOWN_SLOW]
    return [
        SlowShard(shard, made.seconds, made.seconds / middle, made.job.get("SLURMD_NODENAME", made.host)) for shard, made in worst
    ]


def _journals(folder: Path) -> dict[int, list[Path]]:
    """The journals of a stage by shard, from one look at its folder."""
    found: dict[int, list[Path]] = {}
    for path in folder.glob("part-*.journal"):
        found.setdefault(int(path.name.split("-")[1]), []).append(path)
    return found


def _claimed(run: RunFolder, stage: str) -> set[int]:
    """The shards of a stage that a living worker holds rows of."""
    folder = run.files(stage, 0).claims_folder
    shards = {int(path.name.split("-")[1]) for path in folder.glob("part-*.claim")}
    return {shard for shard in shards if live_blocks(run.files(stage, shard))}


def _journal_state(journals: list[Path]) -> tuple[bool, int]:
    """Whether somebody is writing to a shard's journals, and how many rows they hold."""
    alive, rows = False, 0
    for path in journals:
        try:
            alive |= time.time() - path.stat().st_mtime < ALIVE_SECONDS
            with open(path, "rb") as file:
                rows += max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1, 0)
        except FileNotFoundError:
            continue
    return alive, rows


def _next_step(run: RunFolder, jobs: JobsFolder, status: RunStatus, cluster: ClusterState) -> str:
    submissions = jobs.submissions()
    site = f" --site {submissions[-1].site}" if submissions else ""
    if status.finished and (run.path / "datasets").exists():
        return f"everything is finished; the datasets are in {run.path / 'datasets'}"
    if status.finished and cluster.building:
        return f"the last job builds the datasets; they will be in {run.path / 'datasets'}"
    if status.finished:
        return f"everything is finished; make the datasets: shardmill build {run.path}"
    if status.live:
        return f"workers are at it; look again in a while, or: shardmill status {run.path} --watch"
    if any(stage.failed for stage in status.stages):
        return f"see what failed: shardmill failures {run.path}; mend the cause, then: shardmill retry {run.path}"
    return f"go on with: shardmill launch {run.plan.pipeline} --run {run.path}{site}"
