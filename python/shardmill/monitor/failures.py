"""What failed in a run and why: failed shards grouped by cause, each group with the last lines of one log, and the bad nodes."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group as Lines
from rich.text import Text

from shardmill.monitor.log_files import last_lines
from shardmill.monitor.snapshot import Snapshot
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.util.number_ranges import ranges_text
from shardmill.util.plain_text import plain
from shardmill.util.words import count_of

TAIL_LINES = 12
MASKS = (
    (re.compile(r"(?<![\w.])~?(?:/[^\s:,;'\"()\[\]]+)+"), "PATH"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"), "HEX"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "N"),
)
WHAT = {
    "died": "its worker died",
    "error": "the program failed",
    "refused": "refused",
    "changed": "its stage is not what was planned",
    "stuck": "stopped again and again without progress",
}
TO_DO = {
    "died": "if it was out of memory, give the stage more memory_gb (under `stages` in the site file)",
    "error": "read the log; fix the row, the model or the code that it names",
    "refused": "fix what the message names",
    "changed": "restore what was changed, or do what the message says",
    "stuck": "give the stage more minutes (under `stages` in the site file)",
}


@dataclass
class Cause:
    """Unfinished shards of one stage whose last failure has the same cause: the same kind, and the same message but for numbers,
    paths and digests. The `quarantined` ones are not tried again by themselves. `message`, `log` and `tail` (the last lines of
    the log) are those of the shard `example`; `nodes` is where they failed; `next` is what to do.
    """

    stage: str
    kind: str
    message: str
    shards: list[int]
    quarantined: list[int]
    nodes: list[str]
    example: int
    log: str
    tail: list[str]
    next: str


@dataclass
class Node:
    """A node that is avoided, why, and how many failures are attributed to it."""

    node: str
    reason: str
    stage: str
    time: str
    failures: int = 0


@dataclass
class FailureReport:
    """The causes, those of the most shards first, and the nodes that are avoided."""

    run: str
    causes: list[Cause] = field(default_factory=list)
    bad_nodes: list[Node] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields of this class, of Cause and Node, by their names."""
        return asdict(self)


def read_failures(run: RunFolder) -> FailureReport:
    """The failures of all shards that are not finished; those attributed to a bad node are counted there."""
    now = Snapshot(run.path)
    jobs = JobsFolder(now)
    report = FailureReport(str(run.path))
    starts: dict[tuple[str, str, int], Node] = {}
    for bad in jobs.bad_nodes():
        node = Node(bad.node, plain(bad.reason), bad.stage, bad.time)
        report.bad_nodes.append(node)
        starts[bad.node, bad.job, bad.restart] = node
    launched = bool(jobs.submissions())
    for stage in now.stages:
        groups: dict[tuple[str, str], dict[int, Failure]] = {}
        last: dict[int, Failure] = {}
        for failure in jobs.failures(stage):
            on_bad_node = starts.get((failure.node, failure.job, failure.restart)) if failure.job else None
            if on_bad_node is not None:
                on_bad_node.failures += 1
            elif not now.is_complete(stage, failure.shard):
                last[failure.shard] = failure
        for shard, failure in last.items():
            groups.setdefault((failure.kind, masked(failure.message)), {})[shard] = failure
        quarantined = set(jobs.quarantined(stage))
        report.causes += [_cause(now, group, quarantined, launched) for group in groups.values()]
    report.causes.sort(key=lambda cause: -len(cause.shards))
    return report


def masked(message: str) -> str:
    """A message without what differs from shard to shard.

    >>> masked("row 17 of /data/x.csv: digest 3f2a9bc01d is not 0.5")
    'row N of PATH: digest HEX is not N'
    """
    for pattern, word in MASKS:
        message = pattern.sub(word, message)
    return message


def _cause(run: RunFolder, group: dict[int, Failure], quarantined: set[int], launched: bool) -> Cause:
    shards = sorted(group)
    example = next((shard for shard in shards if shard in quarantined), shards[0])
    failure = group[example]
    return Cause(
        stage=failure.stage,
        kind=failure.kind,
        message=plain(failure.message),
        shards=shards,
        quarantined=[shard for shard in shards if shard in quarantined],
        nodes=sorted({each.node for each in group.values()}),
        example=example,
        log=failure.log,
        tail=last_lines(Path(failure.log), failure.stage, example, TAIL_LINES) if failure.log else [],
        next=_next(run, failure, bool(quarantined & group.keys()), launched),
    )


def _next(run: RunFolder, failure: Failure, quarantined: bool, launched: bool) -> str:
    again = f"shardmill retry {run.path}" if launched else f"shardmill launch {run.plan.pipeline} --run {run.path}"
    if not quarantined:
        return "its job or the next launch tries it again"
    return f"{TO_DO[failure.kind]}; then: {again}"


def render(report: FailureReport) -> Lines:
    """The report for a terminal."""
    lines = [line for cause in report.causes for line in _cause_lines(cause)]
    if not report.causes:
        lines.append(Text("no unfinished shard has failed"))
    for node in report.bad_nodes:
        counted = f"; {count_of(node.failures, 'failure')} there not counted against any shard" if node.failures else ""
        lines.append(Text(f"node {node.node} is avoided since {node.time}: {node.reason}{counted}", style="yellow"))
    return Lines(*lines)


def _cause_lines(cause: Cause) -> list[Text]:
    count = len(cause.shards)
    which = f": {ranges_text(cause.quarantined) or 'none'}" if len(cause.quarantined) < count else ""
    title = f"{cause.stage}: {count_of(count, 'shard')} ({ranges_text(cause.shards)}), quarantined{which}"
    return [
        Text(title, style="bold red"),
        Text(f"  {WHAT[cause.kind]} on {', '.join(cause.nodes)}: {cause.message}"),
        *(Text(f"    {line}", style="dim") for line in cause.tail),
        Text(f"  log of shard {cause.example}: {cause.log or 'none'}"),
        Text(f"  next: {cause.next}"),
    ]
