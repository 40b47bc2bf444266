"""Which job arrays a run needs: elements of shards, chained stage by stage, under one limit of nodes. Pure: nothing is submitted.

An element is one node's worth of work: a fixed group of shards, the same group in every stage, so that element k of one array
can wait for element k of another (`aftercorr`). Elements that need the same stages and wait for the same older jobs share arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

Live = Mapping[tuple[str, int], Sequence[str]]
"""For each (stage, shard) that has a live job from an earlier launch: the ids of that job."""

IsOpen = Callable[[str, int], bool]
"""Whether a shard needs work in a stage."""

Inputs = Callable[[str, int], Collection[int]]
"""The shards of the stage before that a shard of a stage is made from."""


def own_shard(stage: str, shard: int) -> Collection[int]:
    """The inputs of a stage that decides about each row by itself."""
    return (shard,)


@dataclass(eq=False)
class ElementArray:
    """An array to submit. Element k works on the shards `elements[k]`; it starts after element k of the array `after`, if
    there is one, after all of the arrays `after_all`, after the old jobs `waits_for`, and after all of the array `chained_to`,
    which keeps the limit of nodes.
    """

    stage: str
    elements: list[list[int]]
    after: ElementArray | None = None
    after_all: tuple[ElementArray, ...] = ()
    waits_for: tuple[str, ...] = ()
    chained_to: ElementArray | str | None = None
    parallel: int = 0
    job: str = ""

    @property
    def shards(self) -> int:
        return sum(len(element) for element in self.elements)

    @property
    def longest(self) -> int:
        """The most shards that an element has."""
        return max(len(element) for element in self.elements)


@dataclass
class _Chain:
    """Elements that need the same stages and wait for the same old jobs."""

    stages: tuple[str, ...]
    waits: tuple[tuple[str, ...], ...]
    elements: list[dict[str, list[int]]] = field(default_factory=list)


def groups(num_shards: int, size: int) -> list[range]:
    """The shards of each element: `size` in a row."""
    return [range(start, min(start + size, num_shards)) for start in range(0, num_shards, size)]


def arrays_of(
    after: Mapping[str, str],
    shard_groups: Sequence[Collection[int]],
    is_open: IsOpen,
    live: Live,
    largest: int,
    inputs: Inputs = own_shard,
) -> list[ElementArray]:
    """The arrays for all open shards, none longer than `largest`, in an order in which they can be submitted.

    `after` names the stage that each stage reads from, in pipeline order. A shard with a `live` job in a stage is left to it. A
    stage whose shards are made from several shards of the stage before waits for whole arrays of it.
    """
    arrays: list[ElementArray] = []
    for chain in _chains(after, shard_groups, is_open, live, inputs):
        for start in range(0, len(chain.elements), largest):
            window = chain.elements[start : start + largest]
            made: dict[str, ElementArray] = {}
            for stage, waits in zip(chain.stages, chain.waits, strict=True):
                made[stage] = ElementArray(stage, [element[stage] for element in window], made.get(after[stage]), waits_for=waits)
            arrays += made.values()
    for array in arrays:
        needed = {each for shard in _all_shards(array) for each in inputs(array.stage, shard)}
        if any(len(inputs(array.stage, shard)) > 1 for shard in _all_shards(array)):
            array.after = None
            sources = (each for each in arrays if each.stage == after[array.stage])
            array.after_all = tuple(each for each in sources if not needed.isdisjoint(_all_shards(each)))
    order = list(after)
    return sorted(arrays, key=lambda array: order.index(array.stage))


def _all_shards(array: ElementArray) -> list[int]:
    return [shard for element in array.elements for shard in element]


def _chains(
    after: Mapping[str, str], shard_groups: Sequence[Collection[int]], is_open: IsOpen, live: Live, inputs: Inputs
) -> list[_Chain]:
    chains: dict[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], _Chain] = {}
    for group in shard_groups:
        todo: dict[str, list[int]] = {}
        waits: list[tuple[str, ...]] = []
        for stage, source in after.items():
            shards = [shard for shard in group if is_open(stage, shard) and (stage, shard) not in live]
            if shards:
                todo[stage] = shards
                needed = {each for shard in group for each in inputs(stage, shard)}
                waits.append(tuple(sorted({job for each in needed for job in live.get((source, each), ())})))
        if todo:
            key = (tuple(todo), tuple(waits))
            chains.setdefault(key, _Chain(*key)).elements.append(todo)
    return list(chains.values())


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


def minutes_of(shards: int, workers: int, minutes: float, max_minutes: int) -> int:
    """The time limit of an element: its shards in turns over its workers. One that needs longer is requeued at the limit."""
    return max(1, min(round(minutes * -(-shards // workers)), max_minutes))
