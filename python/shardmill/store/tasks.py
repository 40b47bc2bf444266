"""Which tasks of a run are done, ready and needed. A task is one stage on one shard.

It waits for its own shard of the stage before; a stage that learns from many shards at once waits for all of these.

Nothing here starts a process: the state comes from the manifests, and from whoever takes tasks from the board.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError


class Task(NamedTuple):
    """One stage on one shard."""

    stage: str
    shard: int

    def __str__(self) -> str:
        return f"{self.stage} shard {self.shard}"


def shards_for(target: int | None, num_shards: int, leaves: Iterable[str], rows_out: Callable[[Task], int | None]) -> int:
    """How many shards, from shard 0 on, give `target` rows in each leaf stage; all of them while that is not known.

    Args:
        target: The rows that are wanted; None for all.
        num_shards: The shards of the run.
        leaves: The stages that no other reads from.
        rows_out: Returns the rows of a finished task, None for any other.
    """
    if target is None:
        return num_shards
    needed = 1
    for leaf in leaves:
        rows, shard = 0, 0
        while rows < target and shard < num_shards:
            here = rows_out(Task(leaf, shard))
            if here is None:
                return num_shards
            rows, shard = rows + here, shard + 1
        needed = max(needed, shard)
    return needed


def complete_manifest(run: RunFolder, task: Task) -> Manifest | None:
    """The manifest of a task that is complete. A damaged manifest counts as none: running the task says what to do about it."""
    try:
        return run.manifest(*task) if run.is_complete(*task) else None
    except UserError:
        return None


def needed_shards(run: RunFolder) -> int:
    """How many shards, from shard 0 on, the run needs for its `target_rows`, as far as its manifests show."""

    def rows_out(task: Task) -> int | None:
        manifest = complete_manifest(run, task)
        return None if manifest is None else manifest.rows_out

    return shards_for(run.plan.target_rows, run.num_shards, run.leaves(), rows_out)


class TaskBoard:
    """The tasks of a run and their state, in the order of the pipeline.

    `after` names the stage that each stage reads from, in pipeline order; `done` has the manifests of the finished tasks;
    `fitted` names for each shard of a stage that is fitted the shards that it is made from.
    """

    def __init__(
        self,
        after: Mapping[str, str],
        num_shards: int,
        done: Mapping[Task, Manifest],
        target: int | None = None,
        fitted: Mapping[str, Mapping[int, range]] | None = None,
    ):
        self.after = dict(after)
        self.fitted = dict(fitted or {})
        self.num_shards = num_shards
        self.target = target
        self.done = dict(done)
        self.failed: set[Task] = set()
        self.running: set[Task] = set()
        read = set(self.after.values())
        self._leaves = [stage for stage in self.after if stage not in read]
        self._deepest_first = list(reversed(self.after))
        self._passed = dict.fromkeys(self.after, 0)

    @property
    def stages(self) -> list[str]:
        return list(self.after)

    @property
    def needed(self) -> int:
        """How many shards are needed. One that failed counts as empty, or one failure would make a launch run all shards."""
        return shards_for(self.target, self.num_shards, self._leaves, self._rows_out)

    def _rows_out(self, task: Task) -> int | None:
        if task in self.done:
            return self.done[task].rows_out
        return 0 if self.is_blocked(task) else None

    def is_blocked(self, task: Task) -> bool:
        """The task failed, or one that it depends on."""
        if not self.failed or task.stage not in self.after:
            return False
        return task in self.failed or any(map(self.is_blocked, self._inputs(task)))

    def _inputs(self, task: Task) -> list[Task]:
        """The tasks whose parts it is made from."""
        shards = self.fitted[task.stage][task.shard] if task.stage in self.fitted else (task.shard,)
        return [Task(self.after[task.stage], shard) for shard in shards]

    def next(self, prefer: Collection[str] = ()) -> Task | None:
        """The ready task to start now: one of the stages in `prefer`, else of any."""
        return next((task for stages in (prefer, self.after) for task in self.ready(stages)), None)

    def ready(self, stages: Collection[str], count: int = 1) -> list[Task]:
        """The first tasks of these stages that can be started: of the earliest shard the deepest stage: results come early."""
        order = [stage for stage in self._deepest_first if stage in stages]
        found: list[Task] = []
        for shard in range(self._first_open(order), self.needed):
            for stage in order:
                task = Task(stage, shard)
                if self._is_open(task) and self._has_input(task):
                    found.append(task)
                    if len(found) == count:
                        return found
        return found

    def _first_open(self, stages: Collection[str]) -> int:
        """The first shard that one of the stages may still be started on. A shard once passed is not considered again."""
        for stage in stages:
            shard = self._passed[stage]
            while shard < self.num_shards and (Task(stage, shard) in self.done or self.is_blocked(Task(stage, shard))):
                shard += 1
            self._passed[stage] = shard
        return min((self._passed[stage] for stage in stages), default=self.num_shards)

    def _is_open(self, task: Task) -> bool:
        return task not in self.done and task not in self.failed and task not in self.running

    def _has_input(self, task: Task) -> bool:
        inputs = self._inputs(task)
        if self.after[task.stage] != INGEST and not all(each in self.done for each in inputs):
            return False
        if task.stage not in self.fitted:
            return True
        # The first task of a stage on a block fits it, and others would only wait for that.
        beside = [Task(task.stage, each.shard) for each in inputs]
        return any(each in self.done for each in beside) or not any(each in self.running for each in beside)

    def start(self, task: Task) -> None:
        self.running.add(task)

    def finish(self, task: Task, manifest: Manifest) -> None:
        self.running.discard(task)
        self.done[task] = manifest

    def fail(self, task: Task) -> None:
        self.running.discard(task)
        self.failed.add(task)

    def give_back(self, task: Task) -> None:
        """The task ended without a result and is to be started again."""
        self.running.discard(task)

    def skipped(self) -> list[Task]:
        """The needed tasks that cannot be started because one that they depend on failed."""
        tasks = (Task(stage, shard) for shard in range(self.needed) for stage in self.after)
        return [task for task in tasks if self._is_open(task) and self.is_blocked(task)]


def board_of(run: RunFolder, stop_after: str | None = None) -> TaskBoard:
    """The board of a run by its files.

    Args:
        run: The run.
        stop_after: The last stage to run; all stages if it is not given.

    Raises:
        UserError: If there is no such stage, or the input is not ingested yet.
    """
    after = {stage.name: stage.after for stage in run.plan.stages}
    if stop_after is not None:
        after = {name: source for name, source in after.items() if run.stage(stop_after).name in run.downstream(name)}
    for shard in range(run.num_shards):
        if not run.is_complete(INGEST, shard):
            raise UserError(f"shard {shard} is not ingested yet; run: {command_line('run', run.path, INGEST)}")
    done: dict[Task, Manifest] = {}
    for shard in range(run.num_shards):
        for stage, source in after.items():
            task = Task(stage, shard)
            if source == INGEST or Task(source, shard) in done:
                manifest = complete_manifest(run, task)
                if manifest is not None:
                    done[task] = manifest
    fitted = {
        name: {shard: blocks.needed_by(shard) for shard in range(run.num_shards)}
        for name in after
        if (blocks := run.fit_blocks(name)) is not None
    }
    return TaskBoard(after, run.num_shards, done, run.plan.target_rows, fitted)
