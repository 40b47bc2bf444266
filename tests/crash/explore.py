"""Every way to crash an operation at every call, and what must be so after it: nothing is lost, doubled or left over.

python -m crash.explore [--only WORDS] [--kinds kill,power,faults] [--every N] [--lanes 2]
"""

from __future__ import annotations

import argparse
import errno
import os
import queue
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash import interleave
from crash.compare import differences, one_line, result_of
from crash.disk import Chance, DataFirst, Disk, File, Loss, NamesFirst, Nothing, Zeros, contents, contents_after
from crash.machine import (
    FAIL_ON,
    FAIL_ONCE,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_TORN,
    SHORT_WRITE,
    Disturbance,
    Ended,
    Hung,
    Machine,
    memory_folder,
)
from crash.operations import OPERATIONS, Operation, write_input

KINDS = ("kill", "power", "faults", "pairs")
SEEDS = 60
CHANCES = 3
"""How many seeded mixtures of what got to the disk and what did not are tried at each call, besides the orderly ones."""
ERRORS = (
    (FAIL_ONCE, errno.EIO),
    (FAIL_ON, errno.EIO),
    (FAIL_ONCE, errno.ENOSPC),
    (FAIL_ON, errno.ENOSPC),
    (FAIL_ON, errno.EROFS),
    (SHORT_WRITE, 0),
)
CHANGING = {"open", "write", "ftruncate", "fsync", "link", "rename", "unlink", "mkdir", "rmdir"}


@dataclass
class Prepared:
    """An operation with what it starts from, and what it did (in the folder `box`) and came to when nothing disturbed it."""

    name: str
    operation: Operation
    start: Path
    box: Path
    calm: Ended
    result: dict[str, Any]


@dataclass
class Found:
    """What came of an exploration: how many points of each kind were tried, and where it went wrong."""

    points: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Explorer:
    """Lanes of zygotes in one folder, and the operations that were prepared there."""

    def __init__(self, folder: Path, lanes: int):
        self.folder = folder
        write_input(folder / "input.csv")
        self.lanes = [Machine(folder / f"lane-{index}", folder / "input.csv") for index in range(lanes)]
        self._free: queue.SimpleQueue[Machine] = queue.SimpleQueue()
        for lane in self.lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(lanes)

    def close(self) -> None:
        self._threads.shutdown()
        for lane in self.lanes:
            lane.close()

    @contextmanager
    def lane(self) -> Iterator[Machine]:
        machine = self._free.get()
        try:
            yield machine
        finally:
            self._free.put(machine)

    def prepare(self, name: str) -> Prepared:
        """Make the run that an operation starts from, and see what it comes to."""
        operation = OPERATIONS[name]
        start = self.folder / "starts" / name.replace(" ", "-").replace(",", "")
        start.parent.mkdir(exist_ok=True)
        with self.lane() as machine:
            _clear(machine.box).mkdir()
            _well(machine.run(operation.before, machine.box))
            shutil.copytree(machine.box, start)
            calm = _well(machine.run([operation.command], machine.box))
            _well(machine.run([*operation.after, "tidy"], machine.box))
            return Prepared(name, operation, start, machine.box, calm, result_of(machine.box / "run"))

    def try_all(self, prepared: Prepared, kinds: Iterable[str] = KINDS, chosen: Callable[[list[Any]], list[Any]] = list) -> Found:
        """Try the points of an operation, or those that `chosen` picks of them."""
        found = Found()
        points: list[tuple[str, Callable[[Machine], list[str]]]] = []
        if "kill" in kinds:
            points += [(str(each), lambda machine, each=each: self.kill(machine, prepared, each)) for each in kills(prepared)]
        if "power" in kinds:
            found.faults += [f"{prepared.name}: {fault}" for fault in broken_promises(prepared)]
            points += [
                (name, lambda machine, make=make: self.lose_power(machine, prepared, make)) for name, make in losses(prepared)
            ]
        if "faults" in kinds:
            points += [(str(each), lambda machine, each=each: self.fail(machine, prepared, each)) for each in failures(prepared)]

        if "pairs" in kinds and prepared.operation.shared:
            points += interleave.points(self, prepared, SEEDS)

        def attempt(point: tuple[str, Callable[[Machine], list[str]]]) -> list[str]:
            with self.lane() as machine:
                try:
                    return point[1](machine)
                except Hung:  # once in ten thousand forks a lock of some library is held; a fault of ours hangs again
                    return point[1](machine)

        picked = chosen(points)
        for (name, _), faults in zip(picked, self._threads.map(attempt, picked), strict=True):
            kind = re.split(r" (?:at|from|call) ", name)[0]
            found.points[kind] = found.points.get(kind, 0) + 1
            found.faults += [f"{prepared.name}, {name}: {fault}" for fault in faults]
        return found

    def kill(self, machine: Machine, prepared: Prepared, disturbance: Disturbance) -> list[str]:
        """Kill it there; then it must come to the same when it is run again."""
        box = self.fresh(machine, prepared)
        disk = Disk(box, box)
        ended = machine.run([prepared.operation.command], box, disturbance)
        if ended.code != -9:
            return [f"it was not killed but ended with {ended.code}: {ended.told}"]
        for call in ended.changes:
            disk.apply(call)
        if contents_after(disk, Nothing()) != contents(box):
            return [
                "a change to the folder escaped the shim: "
                + "; ".join(differences(contents_after(disk, Nothing()), contents(box)))
            ]
        return self.go_on(machine, prepared)

    def lose_power(self, machine: Machine, prepared: Prepared, make: Callable[[Path], None]) -> list[str]:
        """Start it again on what the disk has then."""
        make(_clear(machine.box))
        return self.go_on(machine, prepared)

    def fail(self, machine: Machine, prepared: Prepared, disturbance: Disturbance) -> list[str]:
        """Let a call fail: the command must say so and end with 2, or come through; and come to the same when run again."""
        box = self.fresh(machine, prepared)
        ended = machine.run([prepared.operation.command], box, disturbance)
        if disturbance.how == SHORT_WRITE and ended.code != 0:
            return [f"a short write made it end with {ended.code}: {ended.told}"]
        faults = []
        if ended.code not in (0, 2):
            faults.append(f"it ended with {ended.code}: {one_line(ended.told) or ended.told.strip()}")
        elif ended.code == 2 and (fault := one_line(ended.told)):
            faults.append(fault)
        return faults + self.go_on(machine, prepared)

    def fresh(self, machine: Machine, prepared: Prepared) -> Path:
        """Put what the operation starts from into the machine's box."""
        shutil.copytree(prepared.start, _clear(machine.box))
        return machine.box

    def go_on(self, machine: Machine, prepared: Prepared) -> list[str]:
        """Run the operation again, undisturbed; in what it comes to something else than at first."""
        operation = prepared.operation
        again = machine.run([operation.command, *operation.after, "tidy"], machine.box, settled=operation.settled)
        if again.code != 0:
            return [f"run again it ended with {again.code}: {again.told.strip()[-600:]}"]
        return differences(prepared.result, result_of(machine.box / "run"))


def _clear(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _well(ended: Ended) -> Ended:
    assert ended.code == 0, f"it ended with {ended.code}: {ended.told}"
    return ended


def kills(prepared: Prepared) -> Iterator[Disturbance]:
    """Before each call, within each write, and after the last: after any other it is before the next."""
    writes = {call.number for call in prepared.calm.changes if call.name == "write"}
    for at in range(1, prepared.calm.calls + 1):
        yield Disturbance(KILL_BEFORE, at)
        if at in writes:
            yield Disturbance(KILL_TORN, at)
    yield Disturbance(KILL_AFTER, prepared.calm.calls)


def failures(prepared: Prepared) -> Iterator[Disturbance]:
    """Each error at each call, once and from there on."""
    writes = {call.number for call in prepared.calm.changes if call.name == "write"}
    for at in range(1, prepared.calm.calls + 1):
        for how, error in ERRORS if at in writes else ERRORS[:-1]:
            yield Disturbance(how, at, error)


def losses(prepared: Prepared) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What may be on the disk when the power goes after each call, each different state once."""
    disk = Disk(prepared.start, prepared.box)
    seen: set[int] = set()
    for number, call in enumerate(prepared.calm.changes, 1):
        disk.apply(call)
        if call.name not in CHANGING:
            continue
        kinds: list[Callable[[], Loss]] = [Loss, NamesFirst, Zeros, DataFirst]
        kinds += [lambda seed=f"{number} {chance}": Chance(seed) for chance in range(CHANCES)]
        for kind in kinds:
            state = contents_after(disk, kind())
            mark = hash(tuple(state.items()))
            if mark not in seen:
                seen.add(mark)
                yield f"power lost at {number} ({call.name}, {kind().__class__.__name__})", _maker(prepared, number, kind)


def broken_promises(prepared: Prepared) -> list[str]:
    """What an undisturbed command has not made durable in time, as the strictest disk sees it.

    A row that was flushed to a journal must be found again, or its shard's manifest; and when the command has ended with 0, all
    that it made must be there.
    """
    disk = Disk(prepared.start, prepared.box)
    faults: dict[str, int] = {}
    for number, call in enumerate(prepared.calm.changes, 1):
        disk.apply(call)
        sure = disk.after(Loss())
        for path, node in disk.after(Nothing()).items():
            if path.endswith(".journal") and isinstance(node, File) and node.durable.count(b"\n") > 1:
                manifest = re.sub(r"\.[0-9]{13}-.*", ".json", path)
                if node not in sure.values() and manifest not in sure:
                    faults.setdefault(f"the flushed rows of {path.split('/')[-1]} are not there if the power goes", number)
    faults_at = [f"{fault} at {number}" for fault, number in faults.items()]
    made, sure_files = contents_after(disk, Nothing()), contents_after(disk, Loss())
    return faults_at + [
        f"{path} is not durable when the command has ended"
        for path, data in made.items()
        if (path not in sure_files or sure_files[path] != data) and not path.startswith("run/jobs")
    ]


def _maker(prepared: Prepared, number: int, kind: Callable[[], Loss]) -> Callable[[Path], None]:
    def make(box: Path) -> None:
        disk = Disk(prepared.start, prepared.box)
        for call in prepared.calm.changes[:number]:
            disk.apply(call)
        disk.write_after(kind(), box)

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description="Crash Shardmill's commands at every file-system call.")
    parser.add_argument("--only", default="", help="operations with this word in their name")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory(prefix="shardmill-crash-", dir=memory_folder()) as folder:
        explorer = Explorer(Path(folder), asked.lanes)
        for name in OPERATIONS:
            if asked.only in name:
                began = time.monotonic()
                prepared = explorer.prepare(name)
                found = explorer.try_all(prepared, asked.kinds.split(","), lambda points: points[:: asked.every])
                told = ", ".join(f"{count} {kind}" for kind, count in found.points.items())
                seconds = time.monotonic() - began
                print(f"{name}: {prepared.calm.calls} calls; {told}; {len(found.faults)} faults; {seconds:.0f} s", flush=True)
                for fault in found.faults:
                    print(f"    {fault}", flush=True)
                faults += found.faults
        explorer.close()
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
