"""Whether what an attempt works for is still planned: another command may redo a stage or replan the run at any time.

A worker keeps the plan that it started with. Before it publishes, and once more when it has, it compares that plan with the one
on disk, and the input part that it read with the one that is there. `redo` does the opposite: it replaces the plan and then looks
for what was published. So whoever of the two is later sees the other.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from shardmill.store.manifest import Manifest
from shardmill.store.plan import NAME, Plan, load_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.commands import command_line
from shardmill.util.errors import PlanChanged
from shardmill.util.words import count_of

CHECK_SECONDS = 5.0
"""How often a worker looks whether its plan is still the current one: its answers are paid for in vain when it is not."""


@dataclass
class CurrentPlan:
    """The plan that an attempt at a shard works for.

    Attributes:
        run: The run, with the plan that the attempt started with.
        stage: The stage.
        shard: The number of the shard.
        above: The manifest of the input part that the attempt has read; None for ingest, and until it is read.
        journal: The attempt's journal, once it has one: a redo of the shard removes it, as does whoever finishes the shard.
    """

    run: RunFolder
    stage: str
    shard: int
    above: Manifest | None = None
    journal: Path | None = None
    _checked: tuple[int, int, int] | None = field(default=None, init=False)
    _next: float = field(default=0.0, init=False)
    _changed: bool = field(default=False, init=False)

    def check(self) -> None:
        """Raise PlanChanged if the shard is planned otherwise or was redone by now, or its input part was made again."""
        version = _version(self.run)
        if version != self._checked:
            self._compare(load_plan(self.run.path))
            self._checked = version
        source = self.run.after(self.stage)
        if self.above is not None and source is not None:
            now = self.run.manifest(source, self.shard)
            if now is None or now.part.sha256 != self.above.part.sha256:
                raise PlanChanged(
                    f"{source} shard {self.shard} was opened again or remade while {self.stage} worked on it; finished rows are "
                    f"kept, nothing was published; continue: {self._again(source)}"
                )

        if self.journal is not None and not self.journal.exists() and self.run.manifest(self.stage, self.shard) is None:
            raise self.redone()

    def redone(self) -> PlanChanged:
        """The exception that says that a redo has removed what the attempt had made."""
        return PlanChanged(
            f"{self.stage} shard {self.shard} was redone while a worker was at work on it, and its rows were archived; "
            f"run it again: {self._again(self.stage)}"
        )

    def has_changed(self) -> bool:
        """Whether `check` raised at the last look at the disk, which is every CHECK_SECONDS; once true, it stays so."""
        if not self._changed and time.monotonic() >= self._next:
            self._next = time.monotonic() + CHECK_SECONDS
            try:
                self.check()
            except PlanChanged:
                self._changed = True
        return self._changed

    def _compare(self, now: Plan) -> None:
        if now.shards != self.run.plan.shards:
            again = command_line("launch", now.pipeline, "--run", self.run.path)
            raise PlanChanged(
                f"{self.run.path} was cut into {count_of(len(now.shards), 'shard')} while a worker was at work; continue: {again}"
            )
        if self.stage == INGEST:
            return
        mine = self.run.stage(self.stage)
        theirs = next((stage for stage in now.stages if stage.name == mine.name), None)
        if theirs is None or theirs.revision != mine.revision or mine.fingerprint not in [theirs.fingerprint, *theirs.accepted]:
            raise PlanChanged(
                f"{self.stage} was redone or changed by another command while a worker was at work on shard {self.shard}; "
                f"what it made is not published; run it as planned now: {self._again(self.stage)}"
            )

    def _again(self, stage: str) -> str:
        return command_line("run", self.run.path, *dict.fromkeys((stage, self.stage)), "--shard", self.shard)


def _version(run: RunFolder) -> tuple[int, int, int]:
    """What tells one plan file from another. Opening it makes a network file system look at the server, which `stat` may not."""
    with open(run.path / NAME, "rb") as file:
        found = os.fstat(file.fileno())
    return found.st_ino, found.st_mtime_ns, found.st_size
