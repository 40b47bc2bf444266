"""What failed in a run and why: failed shards grouped by cause, each group with the last lines of one log, and the bad nodes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group as Lines
from rich.text import Text

from shardmill.launch.jobs import Failure, JobsFolder
from shardmill.report.log_files import excerpt
from shardmill.shards.run_folder import RunFolder

TAIL_LINES = 12
VARYING = re.compile(r"0x[0-9a-fA-F]+|/[^\s:,]+|\b[0-9a-f]{12,}\b|\d+")
WORDS = {
    "died": "the worker died",
    "error": "the program failed",
    "refused": "something is to be mended",
    "stuck": "no progress before the time limit",
}


@dataclass
class Cause:
    """Failed shards of one stage with the same cause; `quarantined` ones are tried again only by `shardmill retry`."""

    stage: str
    kind: str
    message: str
    shards: list[int]
    quarantined: list[int]
    nodes: list[str]
    log: str
    tail: list[str]


@dataclass
class FailureReport:
    """The causes, the most frequent first, and why nodes are avoided."""

    run: str
    causes: list[Cause] = field(default_factory=list)
    bad_nodes: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_failures(run: RunFolder) -> FailureReport:
    """The failures of all shards that are not finished."""
    jobs = JobsFolder(run)
    report = FailureReport(str(run.path), bad_nodes={bad.node: bad.reason for bad in jobs.bad_nodes()})
    for stage in run.stages:
        aside = jobs.quarantined(stage)
        last: dict[int, Failure] = {failure.shard: failure for failure in jobs.failures(stage)}
        groups: dict[tuple[str, str], list[Failure]] = {}
        for shard, failure in last.items():
            if not run.is_complete(stage, shard):
                groups.setdefault((failure.kind, VARYING.sub("…", failure.message)), []).append(failure)
        report.causes += [_cause(group, set(aside)) for group in groups.values()]
    report.causes.sort(key=lambda cause: -len(cause.shards))
    return report


def _cause(group: list[Failure], aside: set[int]) -> Cause:
    example = group[-1]
    shards = sorted(failure.shard for failure in group)
    nodes = sorted({failure.node for failure in group})
    quarantined = [shard for shard in shards if shard in aside]
    return Cause(example.stage, example.kind, example.message, shards, quarantined, nodes, example.log, _tail(example))


def _tail(failure: Failure) -> list[str]:
    """The last lines that the log has of the shard."""
    path = Path(failure.log)
    if not failure.log or not path.is_file():
        return []
    lines = [line for line in excerpt(path, failure.stage, failure.shard).splitlines() if line.strip()]
    return lines[-TAIL_LINES:]


def plain(text: str) -> str:
    """Text from a log without what could steer a terminal."""
    return "".join(char for char in text if char == "\t" or unicodedata.category(char) not in ("Cc", "Cf"))


def ranges(shards: list[int]) -> str:
    """Shards in short.

    >>> ranges([3, 5, 6, 7, 9])
    '3, 5-7, 9'
    """
    pieces: list[list[int]] = []
    for shard in shards:
        if pieces and shard == pieces[-1][-1] + 1:
            pieces[-1].append(shard)
        else:
            pieces.append([shard])
    return ", ".join(str(piece[0]) if len(piece) == 1 else f"{piece[0]}-{piece[-1]}" for piece in pieces)


def render(report: FailureReport) -> Lines:
    """The report for a terminal."""
    lines = []
    for cause in report.causes:
        count = len(cause.shards)
        lines.append(
            Text(f"{cause.stage}: {count} {'shard' if count == 1 else 'shards'} ({ranges(cause.shards)})", style="bold red")
        )
        lines.append(Text(f"  {WORDS[cause.kind]}: {plain(cause.message)}; on {', '.join(cause.nodes)}"))
        if cause.quarantined:
            lines.append(Text(f"  quarantined: {ranges(cause.quarantined)}"))
        lines += [Text(f"    {plain(line)}", style="dim") for line in cause.tail]
        lines.append(Text(f"  log: {cause.log}"))
    for node, reason in report.bad_nodes.items():
        lines.append(Text(f"node {node} is avoided: {plain(reason)}", style="bold yellow"))
    if not report.causes:
        lines.append(Text("no unfinished shard has failed"))
    elif any(cause.quarantined for cause in report.causes):
        lines.append(Text(f"when the cause is mended: shardmill retry {report.run}", style="bold"))
    return Lines(*lines)
