"""How far a run is, told from its files alone: right while workers run, while none does, and wherever they run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.errors import UserError
from shardmill.launch.progress import closing_lines
from shardmill.launch.task_logs import TaskLogs
from shardmill.launch.tasks import Task, needed_shards
from shardmill.shards.manifest import Manifest, totals
from shardmill.shards.run_folder import INGEST, RunFolder
from shardmill.standalone import clock

ALIVE_SECONDS = 120.0
"""An unfinished shard whose journal was written to within this time counts as running."""


@dataclass
class StageStatus:
    """One stage. `rows_running` are finished rows of unfinished shards; `eta_seconds` is for one worker at the rate so far."""

    stage: str
    shards: int
    done: int = 0
    running: int = 0
    failed: int = 0
    waiting: int = 0
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    rows_running: int = 0
    rows_per_second: float | None = None
    eta_seconds: float | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass
class RunStatus:
    """A run: its stages, and what to do next."""

    run: str
    pipeline: str
    rows: int
    stages: list[StageStatus]
    closing: list[str]
    next: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_status(run: RunFolder) -> RunStatus:
    """The status of a run now."""
    logs = TaskLogs(run)
    needed = needed_shards(run)
    stages = [_stage_status(run, stage, needed, logs) for stage in [INGEST, *run.stages]]
    return RunStatus(str(run.path), run.plan.pipeline, run.plan.input.rows, stages, closing_lines(run), _next_step(run, stages))


def _stage_status(run: RunFolder, stage: str, needed: int, logs: TaskLogs) -> StageStatus:
    status = StageStatus(stage, needed)
    manifests: list[Manifest] = []
    for shard in range(needed):
        manifest = _complete(run, stage, shard)
        if manifest is not None:
            manifests.append(manifest)
            continue
        alive, rows = _journal_state(run, stage, shard)
        status.rows_running += rows
        failure = logs.failure(Task(stage, shard))
        if alive:
            status.running += 1
        elif failure is not None:
            status.failed += 1
            status.failures.append(f"shard {shard}: {failure} (log: {logs.log(Task(stage, shard))})")
        else:
            status.waiting += 1
    sums = totals(manifests)
    status.done = len(manifests)
    status.rows_in, status.rows_out, status.rejected, status.reasons = (
        sums["rows_in"], sums["rows_out"], sums["rejected"], dict(sorted(sums["reasons"].items(), key=lambda item: -item[1]))
    )  # fmt: skip
    if sums["seconds"] and sums["rows_in"]:
        status.rows_per_second = sums["rows_in"] / sums["seconds"]
        left = sums["rows_in"] / len(manifests) * (needed - len(manifests)) - status.rows_running
        status.eta_seconds = max(left, 0) / status.rows_per_second
    return status


def _complete(run: RunFolder, stage: str, shard: int) -> Manifest | None:
    try:
        return run.manifest(stage, shard) if run.is_complete(stage, shard) else None
    except UserError:
        return None


def _journal_state(run: RunFolder, stage: str, shard: int) -> tuple[bool, int]:
    """Whether somebody is writing to the shard's journals, and how many rows they hold."""
    alive, rows = False, 0
    for path in run.files(stage, shard).journals():
        try:
            alive |= time.time() - path.stat().st_mtime < ALIVE_SECONDS
            with open(path, "rb") as file:
                rows += max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1, 0)
        except FileNotFoundError:
            continue
    return alive, rows


def _next_step(run: RunFolder, stages: list[StageStatus]) -> str:
    launch = f"shardmill launch {run.plan.pipeline} --run {run.path}"
    if any(stage.failed for stage in stages):
        return f"read the log of a failed shard, mend the cause, then: {launch}"
    if all(stage.done >= stage.shards for stage in stages):
        return f"everything is finished; make the datasets: shardmill build {run.path}"
    if any(stage.running for stage in stages):
        return "workers are at it; look again in a while"
    return f"go on with: {launch}"


def render_status(status: RunStatus) -> Group:
    """The status for a terminal."""
    table = Table(title=f"{status.run} ({status.pipeline}, {status.rows:,} input rows)", title_justify="left", box=SIMPLE_HEAD)
    for name in ("stage", "shards", "rows in", "rows out", "rejected", "rows/s", "ETA"):
        table.add_column(name, justify="left" if name in ("stage", "shards") else "right", no_wrap=name == "stage")
    for stage in status.stages:
        table.add_row(
            stage.stage,
            _shards(stage),
            f"{stage.rows_in + stage.rows_running:,}",
            f"{stage.rows_out:,}",
            f"{stage.rejected:,}",
            "" if stage.rows_per_second is None else f"{stage.rows_per_second:,.0f}",
            clock(stage.eta_seconds) if stage.eta_seconds else "",
        )
    lines = list(status.closing)
    lines += [f"{stage.stage} {failure}" for stage in status.stages for failure in stage.failures]
    return Group(table, *(Text(line) for line in lines), Text(f"next: {status.next}"))


def _shards(stage: StageStatus) -> str:
    """`5/8 done, 2 running, 1 failed`."""
    counts = {"running": stage.running, "failed": stage.failed}
    return ", ".join([f"{stage.done}/{stage.shards} done", *(f"{count} {what}" for what, count in counts.items() if count)])
