"""The task queue of an element: its shards in the stages of a phase, shared with other workers through what is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from shardmill.launch.assignment import Assignment, WorkerContext
from shardmill.launch.supervisor import End
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.leases import LeaseOwner, blocks, live_blocks, live_blocks_of
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, needed_shards
from shardmill.util.progress import Progress, ProgressLine
from shardmill.util.terminal import echo

RETRY_SECONDS = 2.0
MAX_SHARE_OF_LOOKING = 0.05
"""How much of its time a waiting worker may read the run folder, which may have thousands of unfinished shards."""


class BadNodeError(Exception):
    """Nothing succeeds on this node, and there are others."""


@dataclass
class _Left:
    """The tasks of an element that can still be done, in the order of the stages.

    ready: those with all input there; waiting: those whose input is being made in this phase; helpful: ready tasks of other
    elements, from which waiting ones are made.
    """

    ready: list[Task] = field(default_factory=list)
    waiting: list[Task] = field(default_factory=list)
    helpful: list[Task] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ready or self.waiting)


class ElementQueue:
    """Stage by stage the shards with the most rows first; where no shard is free, one of which rows are.

    An element whose shards are made from those of other elements in the same phase does these too, rather than wait for them with
    its model loaded. Which shards are done, and which rows are whose, is read from the run folder each time: workers share
    nothing else.

    Args:
        run: The run.
        work: The element.
        context: Where this is.
        owner: The lease owner that this process would be, to judge the leases of others.
        other_nodes: Returns the nodes that the element could move to.
    """

    retry_seconds = RETRY_SECONDS

    def __init__(
        self, run: RunFolder, work: Assignment, context: WorkerContext, owner: LeaseOwner, other_nodes: Callable[[], set[str]]
    ):
        self.run, self.work, self.context, self.owner = run, work, context, owner
        self.finished = False
        self.jobs = JobsFolder(run)
        self.done: set[Task] = set()
        self._after = {stage: run.stage(stage).after for stage in work.stages}
        self._made_from: dict[Task, list[Task]] = {}
        self._other_nodes = other_nodes
        self._exhausted: dict[Task, frozenset[int]] = {}
        self._healthy = False
        self._there: set[Task] = set()
        self._lines: dict[Task, ProgressLine] = {}

    def next_task(self, worker: int, last: Task | None, in_progress: Collection[Task]) -> Task | None:
        started = time.monotonic()
        left = self.left()
        self.finished = not left
        self.retry_seconds = max(RETRY_SECONDS, (time.monotonic() - started) / MAX_SHARE_OF_LOOKING)
        return self._choose(worker, left.ready, in_progress) or self._choose(worker, left.helpful, in_progress)

    def next_ahead(self, worker: int, in_progress: Collection[Task]) -> Task | None:
        left = self.left()
        helping = all(task.shard not in self.work.shards for task in in_progress)
        ready = [task for task in [*left.ready, *(left.helpful if helping else ())] if task not in in_progress]
        return self._choose(worker, ready, in_progress)

    def left(self) -> _Left:
        """What can still be done, as the run folder says now."""
        found, possible, own = _Left(), set[Task](), set(self.work.shards)
        for stage, shards in self._open_shards().items():
            ready = []
            for shard in shards:
                task = Task(stage, shard)
                missing = [each for each in self._inputs(task) if not self._is_there(each)]
                if not missing:
                    ready.append(task)
                elif not possible.issuperset(missing):
                    continue
                elif shard in own:
                    found.waiting.append(task)
                possible.add(task)
            ready.sort(key=lambda task: -self._rows(task))
            found.ready += [task for task in ready if task.shard in own]
            found.helpful += [task for task in ready if task.shard not in own]
        return found

    def _open_shards(self) -> dict[str, list[int]]:
        """The unfinished shards of each stage: the element's own, and others in these stages that they are made from."""
        own = self.needed()
        others: dict[str, set[int]] = {stage: set() for stage in self._after}
        found: dict[str, list[int]] = {}
        for stage in reversed(self._after):
            quarantined = self.jobs.quarantined(stage)
            shards = [*own, *sorted(others[stage].difference(self.work.shards))]
            found[stage] = [shard for shard in shards if shard not in quarantined and not self._is_done(Task(stage, shard))]
            if self.work.helps and self._after[stage] in others:
                inputs = (self._inputs(Task(stage, shard)) for shard in found[stage])
                others[self._after[stage]].update(each.shard for tasks in inputs for each in tasks)
        return dict(reversed(found.items()))

    def _inputs(self, task: Task) -> list[Task]:
        """The tasks of the stage before that a task is made from."""
        if task not in self._made_from:
            source = self._after[task.stage]
            self._made_from[task] = [Task(source, shard) for shard in self.run.needed_by(*task)]
        return self._made_from[task]

    def _is_done(self, task: Task) -> bool:
        """Whether a task of the phase is complete. One whose input is to be made again is not."""
        if task in self.done:
            return True
        above = Task(self._after[task.stage], task.shard)
        if (above.stage not in self._after or self._is_done(above)) and self.run.is_complete(*task):
            self.done.add(task)
        return task in self.done

    def _is_there(self, task: Task) -> bool:
        """Whether a task from which others are made is finished."""
        if task.stage in self._after:
            return self._is_done(task)
        if task not in self._there and self.run.manifest(*task) is not None:
            self._there.add(task)
        return task in self._there

    def _rows(self, task: Task) -> int:
        """The rows that a task reads."""
        above = self.run.manifest(self._after[task.stage], task.shard)
        return above.lines_out if above is not None else 0

    def needed(self) -> list[int]:
        """The shards of the element, but for those after the run's target is reached."""
        needed = needed_shards(self.run)
        return [shard for shard in self.work.shards if shard < needed]

    def _choose(self, worker: int, ready: Sequence[Task], in_progress: Collection[Task]) -> Task | None:
        """A task that nobody works on, else one with rows that nobody has; None when all rows that are left are others'."""
        live: dict[Task, frozenset[int]] = {}
        for tasks in self._by_stage(worker, ready):
            found = live_blocks_of([self.run.files(*task) for task in tasks], self.owner)
            live.update((task, frozenset(taken)) for task, taken in zip(tasks, found, strict=True))
            for task in tasks:
                if not live[task] and task not in in_progress:  # a worker that is loading its model has no lease yet
                    return task
        for task, taken in live.items():
            if len(blocks(self._rows(task))) > len(taken) and self._exhausted.get(task) != taken:
                return task
        return None

    def _by_stage(self, worker: int, tasks: Sequence[Task]) -> Iterator[list[Task]]:
        """The tasks of each stage. Each worker starts at another one: two that choose at the same moment see the same leases."""
        for _, group in groupby(tasks, key=lambda task: task.stage):
            each = list(group)
            first = (self.context.number + worker) % len(each)
            yield each[first:] + each[:first]

    def progress(self, task: Task, progress: Progress) -> None:
        if progress.rows > progress.resumed:
            self._mark_healthy()
        self._lines.setdefault(task, ProgressLine(str(task), bar=False))(progress)

    def ended(self, task: Task, end: End) -> None:
        self._lines.pop(task, None)
        if end == "done":
            self._mark_healthy()
        elif end == "busy":
            # No use in trying again until the leases on it have changed.
            self._exhausted[task] = frozenset(live_blocks(self.run.files(*task), self.owner))

    def failed(self, failure: Failure, quarantined: bool) -> None:
        """Decide what is to blame for a shard that failed too often: the node, if nothing has succeeded on it, or the shard.

        Raises:
            BadNodeError: If it is the node.
        """
        task, context = Task(failure.stage, failure.shard), self.context
        self._lines.pop(task, None)
        say(f"{task}: {failure.message}")
        if failure.progressed:
            self._mark_healthy()
        if not quarantined:
            return
        if failure.kind == "changed":  # so it is on every node
            say(f"{task} is quarantined; do what the message says")
            return
        if context.job and not self.jobs.is_healthy(context.node, context.job, context.restart):
            earlier = {bad.node for bad in self.jobs.bad_nodes() if bad.job == context.job and bad.node != context.node}
            if not earlier and self._other_nodes():
                raise BadNodeError(f"nothing that it was given succeeded; the last was {task}: {failure.message}")
            self.jobs.clear_nodes(earlier)  # the same fails here, so it was not the node
        say(f"{task} is quarantined; fix the cause, then: shardmill retry {self.run.path}")

    def refresh(self) -> None:
        pass

    def _mark_healthy(self) -> None:
        if not self._healthy:
            self._healthy = True
            self.jobs.mark_healthy(self.context.node, self.context.job, self.context.restart)

    def unfinished(self) -> list[Task]:
        """The element's tasks that nobody has given up and that are not done: their input is missing. Says so in the log."""
        missing: list[Task] = []
        for stage, source in self._after.items():
            quarantined = self.jobs.quarantined(stage)
            if quarantined:
                say(f"{stage}: quarantined shards: {sorted(quarantined)[:8]}")
            known = quarantined.keys() | self._failed_before(stage)
            left = [shard for shard in self.needed() if shard not in known and not self._is_done(Task(stage, shard))]
            if left and not any(task.stage == source for task in missing):
                say(f"{source} has not finished the shards {left[:8]}; run that stage first")
            missing += [Task(stage, shard) for shard in left]
        return missing

    def _failed_before(self, stage: str) -> set[int]:
        """The shards that cannot be done because one that they are made from was quarantined in a stage before."""
        broken: set[Task] = set()
        source: str | None = stage
        while source is not None and (source := self.run.after(source)) not in (None, INGEST):
            broken |= {Task(source, shard) for shard in self.jobs.quarantined(source)}
        return {shard for shard in self.work.shards if broken and not broken.isdisjoint(self._origins(stage, shard))}

    def _origins(self, stage: str, shard: int) -> set[Task]:
        """The tasks of all earlier stages that a shard is made from."""
        found: set[Task] = set()
        shards = {shard}
        while (source := self.run.after(stage)) is not None:
            shards = {each for shard in shards for each in self.run.needed_by(stage, shard)}
            found |= {Task(source, each) for each in shards}
            stage = source
        return found


def say(line: str) -> None:
    """Print a line to the log, marked so that `shardmill logs` can tell it from what a model prints."""
    echo(f"=== {line}", err=True)
