"""Different commands at once on one run, some of them killed, terminated or suspended; then one clean launch.

After it the run must be, byte for byte, what a calm run with the same plan is; and each command that did not do what it was asked
to must have said why in one line. A seed draws which commands come, when, and what becomes of them; the processes run in real
time, with a random pause before each call on the run folder, so that one seed may go differently the next time.

python -m crash.meetings [--trials 1000] [--seed 0] [--without WORDS]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.compare import differences, result_of
from crash.machine import JITTER, Disturbance, Ended, Hung, Machine, memory_folder
from crash.meeting import COMBINE, COMMANDS, LAUNCH, SIGNALS, STARTS, Meeting, Visit, draw, fault_of, kind_of
from crash.operations import SUSPENDED_SECONDS, write_pictured_input
from shardmill.export.folder import LOCK
from shardmill.store.fits import FOLDER as FITS
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.atomic import file_digest

LAST = (f"{LAUNCH} 1", "tidy")
JITTER_MICROSECONDS = 1_500
COUNTED = ("round", "usage", "accepted", "code_version", "plan_revision")
"""Fields of plans and manifests that tell how often rows were asked for."""


@dataclass
class Outcome:
    """What came of a trial."""

    meeting: Meeting
    faults: list[str]
    ends: Counter[str] = field(default_factory=Counter)


class Meetings:
    """The runs that meetings start from, and the calm runs that they must come to, in a folder."""

    def __init__(self, folder: Path, lanes: int = 1):
        self.folder, self.table = folder, write_pictured_input(folder / "input")
        self.lanes = [Machine(folder / f"lane-{index}", self.table) for index in range(lanes)]
        self._calm: dict[str, dict[str, Any]] = {}
        for machine in self.lanes:
            for name, commands in STARTS.items():
                _run_calmly(machine, ["shard INPUT --run RUN --num-shards 2", *commands])
                shutil.copytree(machine.box, machine.folder / "starts" / name)
        _run_calmly(machine, ["shard INPUT --run RUN --num-shards 1", "run RUN extract_objects", *COMBINE])
        self._combined = {name: (machine.box / "out" / name).read_bytes() for name in ("combined.csv", "combined.jsonl")}

    def close(self) -> None:
        for lane in self.lanes:
            lane.close()
            shutil.rmtree(TaskLogs(RunFolder(lane.box / "run")).folder, ignore_errors=True)

    def try_all(self, meetings: Sequence[Meeting]) -> Iterator[Outcome]:
        """Hold the meetings, one in each lane at a time."""

        def hold(index: int) -> list[Outcome]:
            return [self.hold(self.lanes[index], meeting) for meeting in meetings[index :: len(self.lanes)]]

        if len(self.lanes) == 1:
            yield from (self.hold(self.lanes[0], meeting) for meeting in meetings)
            return
        with ThreadPoolExecutor(len(self.lanes)) as threads:
            for outcomes in threads.map(hold, range(len(self.lanes))):
                yield from outcomes

    def hold(self, machine: Machine, meeting: Meeting) -> Outcome:
        """Hold one meeting, then launch once, and compare."""
        shutil.rmtree(machine.box, ignore_errors=True)
        shutil.copytree(machine.folder / "starts" / meeting.start, machine.box)
        outcome = Outcome(meeting, [])
        try:
            ends = _run_together(machine, meeting)
        except Hung as hung:
            machine.quiet()
            outcome.faults.append(f"a command never ended: {str(hung)[-400:]}")
            return outcome
        for visit, ended in zip(meeting.visits, ends, strict=True):
            outcome.ends[kind_of(ended.code)] += 1
            fault = fault_of(visit, ended)
            if fault:
                outcome.faults.append(f"{visit.command}: {fault}")
        late = machine.quiet()
        if late:
            outcome.faults.append(f"{len(late)} processes were still there long after their launcher had ended")
        outcome.faults += self._handed_on(machine.box / "out") + self._compare(machine)
        return outcome

    def _handed_on(self, out: Path) -> list[str]:
        """What is wrong with the files that commands have written outside of the run: each is whole, or not there at all."""
        made = {name: (out / name).read_bytes() for name in self._combined if (out / name).exists()}
        faults = [f"{name} differs" for name, data in made.items() if data != self._combined[name]]
        for record in out.glob("*/export.json"):
            for name, file in json.loads(record.read_bytes())["files"].items():
                path = record.parent / name
                if not path.exists() or file_digest(path) != file["sha256"]:
                    faults.append(f"{path.relative_to(out)} is not what the export's record says")
            left = [path for path in record.parent.rglob(".*") if path.name != LOCK]
            faults += [f"{path.relative_to(out)} is left over" for path in left]
        return faults

    def _compare(self, machine: Machine) -> list[str]:
        last = machine.wait(machine.start(LAST, machine.box, hurry=True), logged=False)
        machine.quiet()
        if last.code:
            return [f"the clean launch afterwards ended with {last.code}: {last.told.strip()[-600:]}"]
        found = _result(machine.box / "run")
        return differences(self._calm_result(machine), found)

    def _calm_result(self, machine: Machine) -> dict[str, Any]:
        """What a calm run with the plan of the machine's run comes to."""
        plan = json.loads((machine.box / "run" / "plan.json").read_bytes())
        settings = [f"--num-shards {len(plan['shards'])}"]
        for stage in plan["stages"]:
            if stage["name"] == "extract_objects" and stage["attempts"] != 3:
                settings.append(f"--set extract_objects.attempts={stage['attempts']}")
            if stage["name"] == "filter_objects":
                settings += [f"--set filter_objects.{name}={value}" for name, value in sorted(stage["options"].items())]
        key = " ".join(settings)
        if key not in self._calm:
            _run_calmly(machine, [f"shard INPUT --run RUN {key}", *LAST])
            self._calm[key] = _result(machine.box / "run")
        return self._calm[key]


def _run_calmly(machine: Machine, commands: Sequence[str]) -> None:
    """Run commands in an empty box, each in a process of its own: what forks workers must not have started Polars' threads."""
    shutil.rmtree(machine.box, ignore_errors=True)
    (machine.box / "out").mkdir(parents=True)
    for command in commands:
        ended = machine.wait(machine.start([command], machine.box, hurry=True), logged=False)
        assert ended.code == 0, ended.told


def _result(run: Path) -> dict[str, Any]:
    """The files of a run that a launch makes, without what only counts attempts.

    A fit that outlives a replan was made from parts of the earlier number of shards, and says so.
    """
    found = {path: _uncounted(value) for path, value in result_of(run).items() if not path.startswith("jobs/")}
    for path, record in found.items():
        if Path(path).parent.name == FITS and isinstance(record, dict):
            record.pop("inputs", None)
    return found


def _uncounted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _uncounted(each) for key, each in value.items() if key not in COUNTED}
    return [_uncounted(each) for each in value] if isinstance(value, list) else value


def _run_together(machine: Machine, meeting: Meeting) -> list[Ended]:
    """Start the commands and send the signals in time; how the commands ended."""
    pids: dict[int, tuple[int, str]] = {}
    events: list[tuple[float, int, Callable[[], None]]] = []

    def start(index: int, visit: Visit) -> None:
        jitter = Disturbance(JITTER, index + 1, JITTER_MICROSECONDS)
        pids[index] = machine.start([visit.command], machine.box, jitter, f"visit-{index}", hurry=True)

    def strike(index: int, visit: Visit) -> None:
        pid = pids[index][0]
        target = next(iter(_children(pid)), pid) if visit.to_worker else pid
        _send(target, SIGNALS[visit.signal])
        if visit.signal == "suspend":
            when = time.monotonic() - began + SUSPENDED_SECONDS
            events.append((when, len(events), lambda: _send(target, signal.SIGCONT)))
            events.sort()

    for index, visit in enumerate(meeting.visits):
        events.append((visit.at, len(events), lambda index=index, visit=visit: start(index, visit)))  # type: ignore[misc]
        if visit.signal:
            events.append((visit.at + visit.after, len(events) + 100, lambda index=index, visit=visit: strike(index, visit)))  # type: ignore[misc]
    events.sort()
    began = time.monotonic()
    while events:
        when, _, act = events.pop(0)
        time.sleep(max(0.0, when - (time.monotonic() - began)))
        act()
    return [machine.wait(pids[index], logged=False) for index in range(len(meeting.visits))]


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _send(pid: int, number: int) -> None:
    """Send a signal. A command that has ended is not waited for yet, so its number is nobody else's; a worker's may be free."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    parser = argparse.ArgumentParser(description="Have different commands of Shardmill meet on one run.")
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", default="", help="only the trial with this number")
    parser.add_argument("--without", default="", help="leave out commands that match this regular expression")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    commands = [command for command in COMMANDS if not asked.without or not re.search(asked.without, command)]
    numbers = [int(asked.only)] if asked.only else range(asked.trials)
    meetings = [draw(f"{asked.seed}-{number}", commands) for number in numbers]
    began, ends, faulty = time.monotonic(), Counter[str](), 0
    with (
        tempfile.TemporaryDirectory(prefix="shardmill-meet-", dir=memory_folder()) as folder,
        closing(Meetings(Path(folder), asked.lanes)) as tester,
    ):
        for outcome in tester.try_all(meetings):
            ends.update(outcome.ends)
            if outcome.faults:
                faulty += 1
                print(f"{outcome.meeting}", *(f"    {fault}" for fault in outcome.faults), sep="\n", flush=True)
    told = ", ".join(f"{count} {kind}" for kind, count in ends.most_common())
    seconds = time.monotonic() - began
    print(f"meetings: {len(meetings)} trials; commands: {told}; {faulty} trials with faults; {seconds:.0f} s")
    sys.exit(1 if faulty else 0)


if __name__ == "__main__":
    main()
