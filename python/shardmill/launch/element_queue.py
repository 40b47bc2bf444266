"""The task queue of an element: its shards in one stage, shared with the other workers of its node through what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from shardmill.launch.assignment import Assignment, WorkerContext
from shardmill.launch.supervisor import End
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.leases import LeaseOwner, blocks, live_blocks, live_blocks_of
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, needed_shards
from shardmill.util.progress import Progress, ProgressLine
from shardmill.util.terminal import echo


class BadNodeError(Exception):
    """Nothing succeeds on this node, and there are others."""


class ElementQueue:
    """Shards with the most rows first; where no shard is free, one of which rows are.

    Which shards are done, and which rows are whose, is read from the run folder each time: workers share nothing else.

    Args:
        run: The run.
        work: The element.
        context: Where this is.
        owner: The lease owner that this process would be, to judge the leases of others.
        other_nodes: Returns the nodes that the element could move to.
    """

    retry_seconds = 2.0

    def __init__(
        self, run: RunFolder, work: Assignment, context: WorkerContext, owner: LeaseOwner, other_nodes: Callable[[], set[str]]
    ):
        self.run, self.work, self.context, self.owner = run, work, context, owner
        self.finished = False
        self.jobs = JobsFolder(run)
        self.done: set[int] = set()
        source = run.after(work.stage)
        assert source is not None
        self._source = source
        self._other_nodes = other_nodes
        self._exhausted: dict[int, frozenset[int]] = {}
        self._healthy = False
        self._inputs: set[int] = set()
        self._lines: dict[Task, ProgressLine] = {}

    def next_task(self, worker: int, last: Task | None, in_progress: Collection[Task]) -> Task | None:
        left = self.open_shards()
        self.finished = not left
        return self._choose(worker, left, in_progress) if left else None

    def next_ahead(self, worker: int, in_progress: Collection[Task]) -> Task | None:
        own = {task.shard for task in in_progress}
        left = [shard for shard in self.open_shards() if shard not in own]
        return self._choose(worker, left, in_progress) if left else None

    def open_shards(self) -> list[int]:
        """The shards that can be worked on, those with the most rows first."""
        stage = self.work.stage
        self.done |= {shard for shard in self.work.shards if shard not in self.done and self.run.is_complete(stage, shard)}
        quarantined = self.jobs.quarantined(stage)
        rows = {
            shard: above.lines_out
            for shard in self.needed()
            if shard not in self.done
            and shard not in quarantined
            and (above := self.run.manifest(self._source, shard)) is not None
            and self._has_input(shard)
        }
        return sorted(rows, key=lambda shard: -rows[shard])

    def _has_input(self, shard: int) -> bool:
        """Whether the other shards that it is made from are finished too."""
        others = (each for each in self.run.needed_by(self.work.stage, shard) if each != shard)
        return all(self._input_done(each) for each in others)

    def _input_done(self, shard: int) -> bool:
        if shard not in self._inputs and self.run.manifest(self._source, shard) is not None:
            self._inputs.add(shard)
        return shard in self._inputs

    def needed(self) -> list[int]:
        """The shards of the element, but for those after the run's target is reached."""
        needed = needed_shards(self.run)
        return [shard for shard in self.work.shards if shard < needed]

    def _choose(self, worker: int, left: Sequence[int], in_progress: Collection[Task]) -> Task | None:
        """A shard that nobody works on, else one with rows that nobody has; None when all rows that are left are others'.

        Each worker starts at a different shard: two that choose at the same moment see the same leases.
        """
        first = self.context.number + worker
        order = [left[(first + index) % len(left)] for index in range(len(left))]
        found = live_blocks_of([self.run.files(self.work.stage, shard) for shard in order], self.owner)
        live = {shard: frozenset(taken) for shard, taken in zip(order, found, strict=True)}
        ours = {task.shard for task in in_progress}  # a worker that is loading its model has no lease yet
        for shard in order:
            if not live[shard] and shard not in ours:
                return Task(self.work.stage, shard)
        for shard in order:
            above = self.run.manifest(self._source, shard)
            free = len(blocks(above.lines_out)) - len(live[shard]) if above is not None else 0
            if free > 0 and self._exhausted.get(shard) != live[shard]:
                return Task(self.work.stage, shard)
        return None

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
            self._exhausted[task.shard] = frozenset(live_blocks(self.run.files(*task), self.owner))

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

    def unfinished(self) -> list[int]:
        """The needed shards that nobody has given up and that are not done: their input is missing. Says so in the log."""
        quarantined = self.jobs.quarantined(self.work.stage)
        if quarantined:
            say(f"quarantined shards: {sorted(quarantined)[:8]}")
        known = self.done | quarantined.keys() | self._failed_before()
        missing = [shard for shard in self.needed() if shard not in known]
        if missing:
            say(f"{self._source} has not finished the shards {missing[:8]}; run that stage first")
        return missing

    def _failed_before(self) -> set[int]:
        """The shards that cannot be done because one that they are made from was quarantined in a stage before this one."""
        broken: set[int] = set()
        stage = self.work.stage
        while (source := self.run.after(stage)) is not None:
            broken |= self.jobs.quarantined(source).keys() if source != INGEST else set()
            stage = source
        return {shard for shard in self.work.shards if not broken.isdisjoint(self._made_from(shard))}

    def _made_from(self, shard: int) -> set[int]:
        """The shards of any earlier stage that a shard is made from."""
        found, stage = {shard}, self.work.stage
        while (source := self.run.after(stage)) is not None:
            found = {each for shard in found for each in self.run.needed_by(stage, shard)}
            stage = source
        return found


def say(line: str) -> None:
    """Print a line to the log, marked so that `shardmill logs` can tell it from what a model prints."""
    echo(f"=== {line}", err=True)
