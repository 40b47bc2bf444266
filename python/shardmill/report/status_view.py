"""The status of a run on a terminal: once, or again and again until nothing is left to wait for."""

from __future__ import annotations

import sys
import time

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shardmill.report.status import RunStatus, StageStatus, read_status
from shardmill.shards.run_folder import RunFolder
from shardmill.standalone import clock

FAR_BEHIND = 2.0
WORTH_TELLING = 10.0


def watch(run: RunFolder, seconds: float) -> RunStatus:
    """Show the status every `seconds` until nothing goes on; without a terminal, as plain lines. Ctrl-C ends it."""
    console = Console()
    status = read_status(run)
    try:
        if not console.is_terminal:
            while status.live:
                print(_line(status), flush=True)
                time.sleep(seconds)
                status = read_status(RunFolder(run.path))
        else:
            with Live(render_status(status), console=console, auto_refresh=False, transient=True) as live:
                while status.live:
                    time.sleep(seconds)
                    status = read_status(RunFolder(run.path))
                    live.update(render_status(status), refresh=True)
    except KeyboardInterrupt:
        print("no longer watching; the run goes on", file=sys.stderr)
        return status
    console.print(render_status(status))
    return status


def _line(status: RunStatus) -> str:
    """`extract_objects 5/8, propose_negatives 2/8; 3 running, 1 failed`."""
    stages = ", ".join(f"{stage.stage} {stage.done}/{stage.shards}" for stage in status.stages[1:])
    counts = {what: sum(getattr(stage, what) for stage in status.stages) for what in ("running", "queued", "failed")}
    return f"{stages}; " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def render_status(status: RunStatus) -> Group:
    """The status for a terminal."""
    table = Table(title=f"{status.run} ({status.pipeline}, {status.rows:,} input rows)", title_justify="left", box=SIMPLE_HEAD)
    gpus = any(stage.gpu_hours for stage in status.stages)
    for name in ("stage", "shards", "rows in", "rejected", "rows/s", "ETA", *(["GPU-h", "left"] if gpus else [])):
        table.add_column(name, justify="left" if name in ("stage", "shards") else "right", no_wrap=name != "shards")
    for stage in status.stages:
        row = [
            stage.stage,
            _shards(stage),
            f"{stage.rows_in + stage.rows_running:,}",
            f"{stage.rejected:,}",
            "" if stage.rows_per_second is None else f"{stage.rows_per_second:,.0f}",
            clock(stage.eta_seconds) if stage.eta_seconds else "",
        ]
        if gpus:
            row += [f"{stage.gpu_hours:.2f}", "" if stage.gpu_hours_left is None else f"{stage.gpu_hours_left:.2f}"]
        table.add_row(*row)
    return Group(table, *(Text(line) for line in _lines(status)), Text(f"next: {status.next}", style="bold"))


def _shards(stage: StageStatus) -> str:
    """`5/8 done, 2 running, 1 failed`."""
    counts = {"running": stage.running, "queued": stage.queued, "failed": stage.failed}
    return ", ".join([f"{stage.done}/{stage.shards} done", *(f"{count} {what}" for what, count in counts.items() if count)])


def _lines(status: RunStatus) -> list[str]:
    lines = list(status.closing)
    if status.goodput is not None:
        lines.append(
            f"{status.gpu_hours:.2f} GPU-hours allocated so far; goodput: {status.goodput:,.0f} accepted rows per GPU-hour"
        )
    for stage in status.stages:
        slow = [each for each in stage.slowest if each.times_median >= FAR_BEHIND and each.seconds >= WORTH_TELLING]
        if slow:
            told = ", ".join(f"{each.shard} ({clock(each.seconds)}, {each.times_median:.1f} x, {each.host})" for each in slow)
            lines.append(f"{stage.stage}: slowest shards, against the median: {told}")
    cluster = status.cluster
    if cluster.get("silent"):
        lines.append(f"SLURM did not tell ({cluster['silent']}); all this is from the run's files")
    elif cluster:
        waiting = "".join(f"; {count} {why}" for why, count in cluster["waiting"].items())
        build = f"; the job that builds is {cluster['build']}" if cluster["build"] else ""
        lines.append(f"SLURM: {cluster['elements_running']} elements run{waiting}{build}")
    lines += [f"kept away from node {node}: {reason}" for node, reason in status.bad_nodes.items()]
    for stage in status.stages:
        lines += [f"{stage.stage} {failure}" for failure in stage.failures[:3]]
        if len(stage.failures) > 3:
            lines.append(f"{stage.stage}: {len(stage.failures) - 3} more failed shards: shardmill failures {status.run}")
    return lines
