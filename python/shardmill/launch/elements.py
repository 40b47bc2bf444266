"""Which job arrays a run needs: elements of shards, chained phase by phase, under one limit of nodes. Pure: nothing is submitted.

An element is one node's worth of work: a fixed group of shards, the same group in every phase, so that element k of one array
can wait for element k of another (`aftercorr`). Elements that need the same phases and wait for the same older jobs share arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shardmill.launch.phases import Phase, phase_name

Live = Mapping[tuple[str, int], Sequence[str]]
"""For each (stage, shard) that has a live job from an earlier launch: the ids of that job."""

IsOpen = Callable[[str, int], bool]
"""Whether a shard needs work in a stage."""


class Shards(Hashable, Collection[int], Protocol):
    """A range or a tuple of shards."""


Inputs = Callable[[str, int], Shards]
"""The shards of the stage before that a shard of a stage is made from."""


def own_shard(stage: str, shard: int) -> tuple[int, ...]:
    """The inputs of a stage that decides about each row by itself."""
    return (shard,)


@dataclass(eq=False)
class ElementArray:
    """An array to submit. Element k takes the shards `elements[k]` through all `stages`; it starts after element k of each of the
    arrays `after`, after all of the arrays `after_all`, after the old jobs `waits_for`, and after all of the array `chained_to`,
    which keeps the limit of nodes.
    """

    stages: Phase
    elements: list[list[int]]
    after: tuple[ElementArray, ...] = ()
    after_all: tuple[ElementArray, ...] = ()
    waits_for: tuple[str, ...] = ()
    chained_to: ElementArray | str | None = None
    parallel: int = 0
    job: str = ""

    @property
    def name(self) -> str:
        return phase_name(self.stages)

    @property
    def shards(self) -> int:
        return sum(len(element) for element in self.elements)

    @property
    def longest(self) -> int:
        """The most shards that an element has."""
        return max(len(element) for element in self.elements)


@dataclass
class _Chain:
    """Elements that need the same phases and wait for the same old jobs."""

    phases: tuple[Phase, ...]
    waits: tuple[tuple[str, ...], ...]
    elements: list[dict[Phase, list[int]]] = field(default_factory=list)


def groups(num_shards: int, size: int) -> list[range]:
    """The shards of each element: `size` in a row."""
    return [range(start, min(start + size, num_shards)) for start in range(0, num_shards, size)]


def arrays_of(
    phases: Sequence[Phase],
    after: Mapping[str, str],
    shard_groups: Sequence[Collection[int]],
    is_open: IsOpen,
    live: Live,
    largest: int,
    inputs: Inputs = own_shard,
) -> list[ElementArray]:
    """The arrays for all open shards, none longer than `largest`, in an order in which they can be submitted.

    `after` names the stage that each stage reads from. A shard with a `live` job in a stage is left to it. A phase with a stage
    whose shards are made from several shards of the stage before waits for whole arrays of the phases before it.
    """
    arrays: list[ElementArray] = []
    for chain in _chains(phases, after, shard_groups, is_open, live, inputs):
        for start in range(0, len(chain.elements), largest):
            window = chain.elements[start : start + largest]
            made: dict[str, ElementArray] = {}
            for phase, waits in zip(chain.phases, chain.waits, strict=True):
                array = ElementArray(phase, [element[phase] for element in window], _sources(phase, after, made), waits_for=waits)
                made.update(dict.fromkeys(phase, array))
                arrays.append(array)
    for array in arrays:
        shards = _all_shards(array)
        if any(len(inputs(stage, shard)) > 1 for stage in array.stages for shard in shards):
            needed = inputs_outside(array.stages, after, shards, inputs)
            array.after = ()
            array.after_all = tuple(each for each in arrays if each is not array and _makes(each, needed))
    return sorted(arrays, key=lambda array: phases.index(array.stages))


def _sources(phase: Phase, after: Mapping[str, str], made: Mapping[str, ElementArray]) -> tuple[ElementArray, ...]:
    """The arrays of the stages that a phase reads from."""
    return tuple(dict.fromkeys(made[after[stage]] for stage in phase if after[stage] in made))


def _makes(array: ElementArray, needed: Mapping[str, Collection[int]]) -> bool:
    """Whether an array makes some of what is needed, by stage."""
    shards = set(_all_shards(array))
    return any(not shards.isdisjoint(needed.get(stage, ())) for stage in array.stages)


def inputs_outside(phase: Phase, after: Mapping[str, str], shards: Iterable[int], inputs: Inputs) -> dict[str, set[int]]:
    """The shards of each stage before a phase from which the phase makes its own `shards`.

    Where a stage of the phase is made from several shards of another one, those are made in the phase too.
    """
    wanted: dict[str, set[int]] = {stage: set(shards) for stage in phase}
    for stage in reversed(phase):
        here = {inputs(stage, shard) for shard in wanted[stage]}
        wanted.setdefault(after[stage], set()).update(*here)
    return {stage: found for stage, found in wanted.items() if stage not in phase}


def _all_shards(array: ElementArray) -> list[int]:
    return [shard for element in array.elements for shard in element]


def _chains(
    phases: Sequence[Phase],
    after: Mapping[str, str],
    shard_groups: Sequence[Collection[int]],
    is_open: IsOpen,
    live: Live,
    inputs: Inputs,
) -> list[_Chain]:
    chains: dict[tuple[tuple[Phase, ...], tuple[tuple[str, ...], ...]], _Chain] = {}
    for group in shard_groups:
        todo: dict[Phase, list[int]] = {}
        waits: list[tuple[str, ...]] = []
        for phase in phases:
            shards = [shard for shard in group if any(is_open(stage, shard) and (stage, shard) not in live for stage in phase)]
            if shards:
                todo[phase] = shards
                waits.append(_live_jobs(phase, after, shards, live, inputs) if live else ())
        if todo:
            key = (tuple(todo), tuple(waits))
            chains.setdefault(key, _Chain(*key)).elements.append(todo)
    return list(chains.values())


def _live_jobs(phase: Phase, after: Mapping[str, str], shards: Sequence[int], live: Live, inputs: Inputs) -> tuple[str, ...]:
    """The live jobs that an element waits for: those of its own shards in the phase, and of what these are made from."""
    needed = {**inputs_outside(phase, after, shards, inputs), **dict.fromkeys(phase, shards)}
    return tuple(sorted({job for stage, each in needed.items() for shard in each for job in live.get((stage, shard), ())}))


def limit(arrays: Sequence[ElementArray], live: Mapping[str, int], max_nodes: int | None) -> dict[str, int]:
    """Set `parallel` of each array so that all arrays of a run together never use more than `max_nodes` nodes.

    Every array gets at least one node. If there are more arrays than nodes, array j waits for all of array j - `max_nodes` (in
    submission order, `live` arrays of earlier launches first), so that at most `max_nodes` arrays are open at once.

    Args:
        arrays: The arrays to submit.
        live: The limits that the arrays of earlier launches have now, by job id.
        max_nodes: The limit; None for none.

    Returns:
        The new limits of those live arrays that must be lowered first.
    """
    if max_nodes is None:
        for array in arrays:
            array.parallel = len(array.elements)
        return {}
    lowered: dict[str, int] = {}
    room = max_nodes - sum(live.values())
    if room < min(len(arrays), max_nodes):
        lowered = {job: 1 for job, width in live.items() if width > 1}
        room = max_nodes - len(live)
    lane: list[ElementArray | str] = [*live, *arrays]
    for index, array in enumerate(arrays, start=len(live)):
        array.parallel = 1
        array.chained_to = lane[index - max_nodes] if index >= max_nodes else None
    spare = room - len(arrays)
    for array in arrays:  # the first stages get the spare nodes; share_limit() passes them on as stages empty
        if spare > 0:
            more = min(spare, len(array.elements) - 1)
            array.parallel, spare = 1 + more, spare - more
    return lowered
