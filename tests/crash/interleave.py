"""Two processes on one shard, stepped call by call: whoever comes first, there is one correct part, and no one fails.

A schedule says who goes next. `pauses` are the systematic ones: the first process stops before each of its calls in turn, looks
included, and the other runs as far as it gets; a file system that is slow at just that call is one of them. `Seeded` ones
change places at random, and may kill one of the two. The same seed gives the same schedule.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from crash.compare import differences, result_of
from crash.machine import KILL_BEFORE, UNDISTURBED, Disturbance, Ended, Hung, Machine

if TYPE_CHECKING:
    from crash.explore import Explorer, Prepared

MAX_STEPS = 3_000
HUNG_SECONDS = 60
PATIENCE = 400
"""Steps that the second process gets while the first one stands: with claims it may wait for it for ever."""


class Stepped:
    """A process that stops before each of its calls on the watched folder until it is let go on."""

    def __init__(self, machine: Machine, command: str, name: str, disturbance: Disturbance = UNDISTURBED):
        self._machine = machine
        pipes = (machine.folder / f"{name}.asks", machine.folder / f"{name}.goes")
        for pipe in pipes:
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
        self._started = machine.start([command], machine.box, disturbance, name, pipes)
        self._asks, self._goes = os.open(pipes[0], os.O_RDONLY | os.O_NONBLOCK), os.open(pipes[1], os.O_RDWR)
        self.steps = 0
        self.alive = True
        self._arrive()

    def step(self) -> None:
        """Let it carry out one call, up to the next; nothing happens once it has ended."""
        if self.alive:
            os.write(self._goes, b".")
            self.steps += 1
            self._arrive()

    def _arrive(self) -> None:
        if not select.select([self._asks], [], [], HUNG_SECONDS)[0]:
            raise Hung(f"after {self.steps} steps")
        self.alive = os.read(self._asks, 1) != b""

    def end(self) -> Ended:
        """Let it run to its end, and say how that was."""
        while self.alive:
            assert self.steps < MAX_STEPS, "it never ends"
            self.step()
        os.close(self._asks)
        os.close(self._goes)
        return self._machine.wait(self._started)


Schedule = Callable[[Stepped, Stepped], None]


def pause(at: int) -> Schedule:
    """The first one stops after `at` steps for as long as the other one makes headway."""

    def schedule(first: Stepped, second: Stepped) -> None:
        for _ in range(at):
            first.step()
        for _ in range(PATIENCE):
            second.step()

    return schedule


@dataclass(frozen=True)
class Seeded:
    """Who goes next is drawn, in turns of 1 to `longest` steps."""

    seed: int
    longest: int = 12

    def __call__(self, first: Stepped, second: Stepped) -> None:
        rng = Random(self.seed)
        while first.alive or second.alive:
            one = rng.choice([each for each in (first, second) if each.alive])
            for _ in range(rng.randint(1, self.longest)):
                one.step()
            assert first.steps + second.steps < 2 * MAX_STEPS, "they never end"

    def kills(self, calls: int) -> Disturbance:
        """Every other seed kills the second process at a call."""
        rng = Random(f"kill {self.seed}")
        return Disturbance(KILL_BEFORE, rng.randint(1, calls)) if self.seed % 2 else UNDISTURBED


def together(
    explorer: Explorer, machine: Machine, prepared: Prepared, schedule: Schedule, killed: Disturbance = UNDISTURBED
) -> list[str]:
    """Run the operation twice at once; what is wrong with it."""
    explorer.fresh(machine, prepared)
    command = prepared.operation.command
    first, second = Stepped(machine, command, "a"), Stepped(machine, command, "b", killed)
    schedule(first, second)
    ends = [first.end(), second.end()]
    faults = [
        f"the {which} ended with {ended.code}: {ended.told.strip()[-600:]}"
        for which, ended in zip(("first", "second"), ends, strict=True)
        if ended.code != 0 and not (ended.code == -9 and killed.how and which == "second")
    ]
    if killed.how:
        return faults + explorer.go_on(machine, prepared)
    machine.run([*prepared.operation.after, "tidy"], machine.box)
    return faults + differences(prepared.result, result_of(machine.box / "run"))


def steps_of(explorer: Explorer, machine: Machine, prepared: Prepared) -> int:
    """How many calls the operation makes, looks included."""
    explorer.fresh(machine, prepared)
    alone = Stepped(machine, prepared.operation.command, "a")
    alone.end()
    return alone.steps


def points(explorer: Explorer, prepared: Prepared, seeds: int) -> Iterator[tuple[str, Callable[[Machine], list[str]]]]:
    """All pauses and so many seeds."""
    with explorer.lane() as machine:
        steps = steps_of(explorer, machine, prepared)
    for at in range(steps + 1):
        yield f"two at once at {at}", lambda machine, at=at: together(explorer, machine, prepared, pause(at))
    for seed in range(seeds):
        schedule = Seeded(seed)
        killed = schedule.kills(prepared.calm.calls)
        yield (
            f"two by chance at seed {seed}",
            lambda machine, schedule=schedule, killed=killed: together(explorer, machine, prepared, schedule, killed),
        )
