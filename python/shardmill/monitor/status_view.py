"""The status of a run on a terminal: once, or again and again until nothing is left to wait for."""

from __future__ import annotations

import time

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shardmill.launch.phases import phase_name
from shardmill.monitor.stage_status import SlowShard, StageStatus
from shardmill.monitor.status import RunStatus, Seen, read_status
from shardmill.store.goodput import GpuTime
from shardmill.store.run_folder import RunFolder
from shardmill.util.console import TextConsole
from shardmill.util.number_ranges import ranges_text
from shardmill.util.progress import clock
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

MAX_SHOWN = 3
MIN_SLOW_SECONDS = 10.0
"""A slow shard of fewer seconds does not matter to anyone."""
STATES = ("running", "queued", "failed", "waiting")


def watch(run: RunFolder, seconds: float) -> RunStatus:
    """Show the status every `seconds` until nothing is running; without a terminal, a plain line whenever it has changed.

    Ctrl-C ends it. Returns the last status.
    """
    console, seen = TextConsole(), Seen()
    status = read_status(run, seen)
    try:
        if console.is_terminal:
            with Live(render_status(status), console=console, auto_refresh=False, transient=True) as live:
                while status.live:
                    time.sleep(seconds)
                    status = read_status(run, seen)
                    live.update(render_status(status), refresh=True)
        else:
            shown = ""
            while status.live:
                if shown != (line := _line(status)):
                    echo(f"{time.strftime('%H:%M:%S')} {line}")
                shown = line
                time.sleep(seconds)
                status = read_status(run, seen)
    except KeyboardInterrupt:
        echo("stopped watching; the run continues", err=True)
        return status
    console.print(render_status(status), soft_wrap=True)  # commands are to be copied
    return status


def _line(status: RunStatus) -> str:
    """`extract_objects 5/8, propose_negatives 2/8; 3 running, 1 failed; ETA 10:00`."""
    stages = ", ".join(f"{stage.stage} {stage.done}/{stage.shards}" for stage in status.stages[1:])
    counts = {what: sum(getattr(stage, what) for stage in status.stages) for what in STATES}
    states = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{stages}; {states or 'nothing in progress'}; ETA {eta(status.eta_seconds)}"


def render_status(status: RunStatus) -> Group:
    """The status for a terminal; print it with `soft_wrap`, so that long commands stay whole."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    title = Text(f"{status.run} ({status.pipeline}, {status.rows:,} input rows)", style="bold")
    hours = "GPU-h" if status.gpu_hours or status.gpu_hours_left else "CPU-h"
    for name in ("stage", "shards", "rows in", "rejected", "rows/s", "ETA", hours, "left"):
        table.add_column(name, justify="left" if name in ("stage", "shards") else "right", no_wrap=name != "shards")
    for stage in status.stages:
        gpu = hours == "GPU-h"
        table.add_row(
            stage.stage,
            _shards(stage),
            f"{stage.rows_in + stage.rows_running:,}",
            f"{stage.rejected:,}",
            "?" if stage.rows_per_second is None else f"{stage.rows_per_second:,.0f}",
            "" if stage.finished else eta(stage.eta_seconds),
            _hours(stage.gpu_hours if gpu else stage.cpu_hours),
            _hours(stage.gpu_hours_left if gpu else stage.cpu_hours_left),
        )
    return Group(title, table, *(Text(line) for line in _lines(status)), Text(f"next: {status.next}", style="bold"))


def eta(seconds: float | None) -> str:
    """A remaining time for a table."""
    return "?" if seconds is None else clock(seconds)


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:,.2f}" if hours < 100 else f"{hours:,.0f}"


def _shards(stage: StageStatus) -> str:
    """`5/8, 2 running, 1 failed`: how many are done, and the state of the others."""
    counts = {what: getattr(stage, what) for what in STATES[:3]}
    return ", ".join([f"{stage.done}/{stage.shards}", *(f"{count} {what}" for what, count in counts.items() if count)])


def _lines(status: RunStatus) -> list[str]:
    lines = [*status.closing, _sum_line(status), *map(_gpu_line, status.gpu_time), *_cluster_lines(status)]
    lines += [line for stage in status.stages if (line := _token_line(stage))]
    lines += [line for stage in status.stages if (line := _slow_line(stage))]
    for stage in status.stages:
        lines += _failure_lines(status, stage)
        if stage.open:
            how = ", ".join(f"{words} {count:,}" for words, count in stage.open_why.items())
            lines.append(f"{stage.stage}: {count_of(stage.open, 'shard')} left unfinished by jobs that have ended ({how})")
    lines += [f"node {node} is avoided: {reason}" for node, reason in status.bad_nodes.items()]
    lines += [f"{path} is corrupt and counts as missing; launch again to make its shard again" for path in status.damaged]
    lines += [f"{path} is missing; launch again to make its shard again" for path in status.missing]
    return lines


def _sum_line(status: RunStatus) -> str:
    gpu = bool(status.gpu_hours or status.gpu_hours_left)
    used, left = (status.gpu_hours, status.gpu_hours_left) if gpu else (status.cpu_hours, status.cpu_hours_left)
    unit = "GPU-hours" if gpu else "CPU-hours"
    parts = [f"{_hours(used)} {unit} so far"]
    if not status.finished:
        parts = [f"ETA {eta(status.eta_seconds)}", *parts, f"{_hours(left)} left"]
    if status.goodput is not None:
        parts.append(f"goodput {status.goodput:,.0f} accepted rows per {status.goodput_per}")
    if status.cost is not None:
        parts.append(f"cost {_money(status.cost)}" + ("" if status.finished else f", {_money(status.cost_left)} left"))
    if status.spent is not None or status.max_cost is not None:
        limit = "" if status.max_cost is None else f" of at most {_money(status.max_cost)}"
        parts.append(f"{_money(status.spent or 0.0)}{limit} spent on requests so far")
    return "; ".join(parts)


def _gpu_line(phase: GpuTime) -> str:
    """`extract_objects+1: 1.20 GPU-hours allocated: asking 71%, loading 9%, waiting 2%, idle 18%`."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in phase.shares().items())
    return f"{phase_name(phase.stages)}: {_hours(phase.held)} GPU-hours allocated: {shares}"


def _token_line(stage: StageStatus) -> str:
    """`extract_objects: 1,290 prompt tokens (93% cached), 31 completion tokens, 9 tokens/s per worker; cost 1.20, 3.40 left`"""
    prompt, answered = stage.usage.get("prompt_tokens", 0), stage.usage.get("completion_tokens", 0)
    if not prompt:
        return ""
    cached = stage.usage.get("cached_tokens", 0) / prompt
    speed = f", {stage.tokens_per_second:,.0f} tokens/s per worker" if stage.tokens_per_second else ""
    line = f"{stage.stage}: {prompt:,.0f} prompt tokens ({cached:.0%} cached), {answered:,.0f} completion tokens{speed}"
    if stage.cost is None:
        return line
    left = "" if stage.finished else f", {_money(stage.cost_left)} left"
    return f"{line}; cost {_money(stage.cost)}{left}"


def _money(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"


def _cluster_lines(status: RunStatus) -> list[str]:
    cluster = status.cluster
    if cluster is None:
        return []
    lines = [cluster.note] if cluster.note else []
    if cluster.running:
        lines.append(f"{count_of(cluster.running, 'job')} running on {_few(cluster.nodes)}")
    lines += [f"{count_of(count, 'job')}: {why}" for why, count in cluster.queued_why.items()]
    if cluster.answered and not (cluster.running or cluster.queued) and not status.finished:
        lines.append("no job of this run is in the queue")
    if cluster.build:
        lines.append(f"datasets: {cluster.build}")
    return lines


def _few(nodes: list[str]) -> str:
    more = f" and {count_of(len(nodes) - 8, 'more node')}" if len(nodes) > 8 else ""
    return ", ".join(nodes[:8]) + more


def _slow_line(stage: StageStatus) -> str:
    """`create_mcq: slowest shards 5 (12:03, 2.1 x the median, n1), 7 (...)`; running ones that are far behind come first."""
    slowest = stage.slowest if stage.slowest and stage.slowest[0].seconds >= MIN_SLOW_SECONDS else []
    shown = [*stage.behind[:MAX_SHOWN], *slowest]
    return f"{stage.stage}: slowest shards " + ", ".join(map(_slow, shown)) if shown else ""


def _slow(slow: SlowShard) -> str:
    still = "running for " if slow.running else ""
    node = f", {slow.node}" if slow.node else ""
    return f"{slow.shard} ({still}{clock(slow.seconds)}, {slow.times_median:.1f} x the median{node})"


def _failure_lines(status: RunStatus, stage: StageStatus) -> list[str]:
    lines = [f"{stage.stage} shard {shard} failed: {message}" for shard, message in list(stage.failures.items())[:MAX_SHOWN]]
    if stage.failed > MAX_SHOWN:
        lines.append(f"{stage.stage}: {count_of(stage.failed, 'shard')} failed: {ranges_text(stage.failures)}")
    if stage.held_back:
        lines.append(f"{stage.stage}: {count_of(stage.held_back, 'shard')} blocked by failures in an earlier stage")
    return lines
