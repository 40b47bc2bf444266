"""One meeting: which commands come to a run at the same time, when, what becomes of each, and whether it ended as it should."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from crash.compare import one_line
from crash.machine import Ended
from crash.operations import ALL

LAUNCH = "launch negbench --run RUN --workers"
COMBINE = (
    "combine RUN extract_objects --out OUT/combined.csv",
    "combine RUN extract_objects --out OUT/combined.jsonl",
)
COMMANDS = (
    f"{LAUNCH} 1",
    f"{LAUNCH} 2",
    f"{LAUNCH} 2 --no-build",
    "launch negbench --run RUN --workers 1 --redo caption_negated",
    "run RUN extract_objects propose_negatives",
    "run RUN filter_objects validate_objects --shard 1",
    f"run RUN {ALL}",
    "worker extract_objects 0",
    "worker filter_objects 1",
    "run RUN extract_objects --redo --set extract_objects.attempts=4",
    "run RUN filter_objects --redo --set filter_objects.unverified=keep",
    "run RUN propose_negatives --redo --shard 1",
    "run RUN ingest --redo",
    "run RUN ingest --redo --shard 1",
    "retry RUN",
    "retry RUN extract_objects --rejects --no-launch",
    "retry RUN filter_objects --rejects --no-launch",
    "replan RUN --num-shards 3",
    "replan RUN --num-shards 2",
    "build RUN",
    *COMBINE,
    "combine RUN filter_objects --out OUT/filtered.parquet",
    "export RUN --format csv --out OUT/texts",
    "export RUN --format parquet --out OUT/parquet",
    "report RUN --out OUT/report",
    "rethreshold RUN filter_objects --set filter_objects.present_above=0.65",
    "rethreshold RUN filter_objects --set filter_objects.present_above=0.1",
    "status RUN",
    "failures RUN",
    "explain RUN 2",
    "estimate RUN",
    "audit RUN --out OUT/audit",
    "compare RUN RUN",
)
STARTS = {"ingested": (), "begun": ("run RUN extract_objects", "run RUN propose_negatives --shard 1"), "whole": (f"{LAUNCH} 1",)}
SIGNALS = {"": 0, "kill": signal.SIGKILL, "term": signal.SIGTERM, "suspend": signal.SIGSTOP}
EXIT_RESUMABLE = 75


@dataclass(frozen=True)
class Visit:
    """A command that starts `at` so many seconds, and the signal that it, or a worker of it, gets `after` further seconds."""

    command: str
    at: float
    signal: str
    after: float
    to_worker: bool

    def __str__(self) -> str:
        hit = f", {self.signal} after {self.after * 1000:.0f} ms{' to a worker' if self.to_worker else ''}" if self.signal else ""
        return f"{self.command} (at {self.at * 1000:.0f} ms{hit})"


@dataclass(frozen=True)
class Meeting:
    """A trial: what the run is like before, and the commands that come."""

    seed: str
    start: str
    visits: tuple[Visit, ...]

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.start}: " + " | ".join(map(str, self.visits))


def draw(seed: str, commands: Sequence[str] = COMMANDS) -> Meeting:
    """The meeting of a seed: two to four different commands within a quarter of a second."""
    rng = Random(seed)
    start = rng.choice((*STARTS, "whole"))
    chosen = rng.sample(commands, rng.choice((2, 2, 3, 4)))
    visits = [
        Visit(
            command,
            rng.choice((0.0, rng.uniform(0, 0.25))),
            rng.choice(("", "", "kill", "kill", "term", "suspend")),
            rng.uniform(0, 0.4),
            command.startswith("launch") and rng.random() < 0.5,
        )
        for command in chosen
    ]
    return Meeting(seed, start, tuple(visits))


def kind_of(code: int) -> str:
    named = {0: "done", 1: "failed shards", 2: "refused", EXIT_RESUMABLE: "stopped"}
    return signal.Signals(-code).name if code < 0 else named.get(code, f"exit code {code}")


def fault_of(visit: Visit, ended: Ended) -> str:
    """What is wrong with how a command ended; empty if it is all right."""
    told = ended.told
    if "Traceback" in told:
        return "it printed a traceback: " + told.strip().splitlines()[-1]
    if ended.code == 0:
        return ""
    if ended.code < 0:
        return "" if -ended.code == SIGNALS[visit.signal] else f"it was ended by {signal.Signals(-ended.code).name}"
    if ended.code == 2:
        return one_line(told)
    if ended.code == EXIT_RESUMABLE and visit.signal == "term":
        return one_line(told)
    failed = [line for line in told.splitlines() if line.startswith("failed: ")]
    if ended.code == 1 and failed:
        unclear = [line for line in failed if re.search(r"shard \d+: \w*(Error|Exception|exit): ", line)]
        return f"a shard failed without a reason: {unclear[0]}" if unclear else ""
    return f"it ended with {ended.code}: {told.strip()[-400:]}"
