"""Phases: the stages that one array element takes its shards through, so that a worker loads their model once.

The stages of a phase run on the same kind of worker with the same model, or with none. A stage without a model that takes seconds
is part of a phase on GPUs; one that takes minutes is not, since the GPUs would be idle meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shardmill.store.plan import Resources, StagePlan
from shardmill.util.errors import UserError

Phase = tuple[str, ...]
"""The stages of a phase, in pipeline order."""

MAX_IDLE_MINUTES = 2.0
"""A stage without a model that takes longer for a shard than this gets workers of its own where GPUs would wait for it."""

ResourcesOf = Callable[[StagePlan], Resources]


@dataclass
class _Members:
    """A phase in the making: its stages, and what its workers have, as far as its stages so far decide that."""

    stages: list[StagePlan] = field(default_factory=list)
    gpus: int | None = None
    user: StagePlan | None = None

    @property
    def names(self) -> set[str]:
        return {stage.name for stage in self.stages}

    def accepts(self, stage: StagePlan, resources: Resources, minutes: float) -> bool:
        """Whether workers of the phase can do a stage too.

        Raises:
            UserError: If it has the same model as the phase on another number of GPUs.
        """
        gpus = resources.gpus_per_worker
        if stage.role is None and not gpus:
            return minutes <= MAX_IDLE_MINUTES or not self.gpus
        if stage.role is not None and self.user is not None:
            if (stage.role, stage.model) != (self.user.role, self.user.model):
                return False
            if gpus and self.gpus and gpus != self.gpus:
                raise UserError(
                    f"the stages {self.user.name} and {stage.name} share a phase, since they have the same model, and ask for "
                    f"{self.gpus} and {gpus} GPUs for a worker; give both the same gpus_per_worker, or launch with --no-phases"
                )
        return self.gpus is None or gpus == self.gpus

    def add(self, stage: StagePlan, resources: Resources, minutes: float) -> None:
        self.stages.append(stage)
        if stage.role is not None:
            self.user = self.user or stage
        if stage.role is not None or resources.gpus_per_worker or minutes > MAX_IDLE_MINUTES:
            self.gpus = resources.gpus_per_worker


def phases_of(
    stages: Sequence[StagePlan], resources: ResourcesOf, minutes: Mapping[str, float] | None = None, *, by_stage: bool = False
) -> list[Phase]:
    """The phases of a run, in an order in which each has its input from those before it.

    Args:
        stages: The planned stages.
        resources: Returns what a worker of a stage is given.
        minutes: What a shard of a stage takes, where that was measured; planned minutes count for the others.
        by_stage: Each stage is a phase of its own.

    Raises:
        UserError: If stages with the same model ask for different numbers of GPUs.
    """
    if by_stage:
        return [(stage.name,) for stage in stages]
    known = {stage.name: (minutes or {}).get(stage.name, resources(stage).minutes) for stage in stages}
    left, found = list(stages), []
    done = {stage.after for stage in stages} - {stage.name for stage in stages}
    while left:
        phase = _next_phase(left, done, resources, known)
        found.append(tuple(stage.name for stage in phase))
        done.update(found[-1])
        left = [stage for stage in left if stage.name not in done]
    return found


def _next_phase(
    left: Sequence[StagePlan], done: Collection[str], resources: ResourcesOf, minutes: Mapping[str, float]
) -> list[StagePlan]:
    """All stages that can follow those that are done on workers of one kind.

    Where workers of several kinds could be next, those come first after which no stage needs their model again: the others may be
    waiting for these, and do more at once then.
    """
    beginnings = [stage for stage in left if stage.after in done]
    possible = [_phase_from(first, left, done, resources, minutes) for first in beginnings]
    return next((phase for phase in possible if _is_last_of_its_model(phase, left)), possible[0])


def _is_last_of_its_model(phase: Sequence[StagePlan], left: Sequence[StagePlan]) -> bool:
    """Whether no stage outside of a phase has its model."""
    models = [(stage.role, stage.model) for stage in phase if stage.role is not None]
    return not any((stage.role, stage.model) in models for stage in left if stage not in phase)


def _phase_from(
    first: StagePlan, left: Sequence[StagePlan], done: Collection[str], resources: ResourcesOf, minutes: Mapping[str, float]
) -> list[StagePlan]:
    """The phase on workers of the kind that a stage needs."""
    members = _Members()
    for stage in [first, *(stage for stage in left if stage is not first)]:
        if stage.after in done or stage.after in members.names:
            needed = resources(stage)
            if members.accepts(stage, needed, minutes[stage.name]):
                members.add(stage, needed, minutes[stage.name])
    stages = sorted(members.stages, key=left.index)
    return _without_tail(stages) if members.user is not None else stages


def _without_tail(stages: Sequence[StagePlan]) -> list[StagePlan]:
    """A phase without a stage at its end that learns from many shards: it would wait for all workers of the phase.

    At the beginning of the next phase it waits for nothing. One that a model stage of the phase reads from stays.
    """
    kept = list(stages)
    for stage in stages:
        after = downstream(stage.name, stages)
        waits = stage.fit_rows and stage.after in {each.name for each in kept}
        if waits and all(each.role is None for each in after):
            kept = [each for each in kept if each not in after]
    return kept


def downstream(name: str, stages: Iterable[StagePlan]) -> list[StagePlan]:
    """A stage and those of `stages` that read from it, directly or not."""
    names = {name}
    found = []
    for stage in stages:
        if stage.name == name or stage.after in names:
            names.add(stage.name)
            found.append(stage)
    return found


def resources_of(stages: Iterable[Resources]) -> Resources:
    """What a worker needs that does several stages: the most of each, and the minutes of all together."""
    each = list(stages)
    return Resources(
        gpus_per_worker=max(one.gpus_per_worker for one in each),
        cpus_per_worker=max(one.cpus_per_worker for one in each),
        memory_gb=max(one.memory_gb for one in each),
        minutes=sum(one.minutes for one in each),
        shards_per_task=max(one.shards_per_task for one in each),
    )


def phase_name(stages: Sequence[str]) -> str:
    """How a phase is called: after its first stage and the number of others.

    >>> phase_name(["extract_objects", "propose_negatives"])
    'extract_objects+1'
    """
    return stages[0] if len(stages) == 1 else f"{stages[0]}+{len(stages) - 1}"
