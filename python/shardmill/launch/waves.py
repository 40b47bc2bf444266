"""Launches in waves, where a site limits the jobs that a user may have in the queue: what of a run the next wave does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from shardmill.launch import slurm
from shardmill.launch.elements import Inputs, IsOpen, Live, inputs_outside
from shardmill.launch.phases import Phase
from shardmill.store.jobs import ArrayRecord

Tasks = set[tuple[str, int]]
"""Shards of stages."""


def wave(
    phases: Sequence[Phase],
    after: Mapping[str, str],
    shard_groups: Sequence[Collection[int]],
    is_open: IsOpen,
    live: Live,
    inputs: Inputs,
    room: int,
) -> tuple[Tasks, int]:
    """What `room` elements do next, and how many elements are left for later.

    A group of shards is taken through all phases before the next one is begun, as far as its inputs are finished, in the queue or
    in the wave.
    """
    chosen: Tasks = set()

    def is_coming(stage: str, shard: int) -> bool:
        return stage not in after or not is_open(stage, shard) or (stage, shard) in live or (stage, shard) in chosen

    waiting = dict(_elements(phases, shard_groups, is_open, live))
    while room > 0 and waiting:
        for place, tasks in waiting.items():
            shards = sorted({shard for _, shard in tasks})
            needed = inputs_outside(place[1], after, shards, inputs)
            if all(is_coming(stage, shard) for stage, each in needed.items() for shard in each):
                break
        else:
            break
        chosen |= waiting.pop(place)
        room -= 1
    return chosen, len(waiting)


def _elements(
    phases: Sequence[Phase], shard_groups: Iterable[Collection[int]], is_open: IsOpen, live: Live
) -> Iterator[tuple[tuple[int, Phase], Tasks]]:
    """The work of each element that is left, by the place of its group and its phase."""
    for place, group in enumerate(shard_groups):
        for phase in phases:
            tasks = {(stage, shard) for stage in phase for shard in group if is_open(stage, shard) and (stage, shard) not in live}
            if tasks:
                yield (place, phase), tasks


def jobs_in_queue(arrays: Iterable[ArrayRecord], live: Mapping[str, slurm.Job], new: Collection[str]) -> list[str]:
    """The arrays that are new or have live elements, in the order in which they were submitted."""
    return [array.job for array in arrays if array.job in new or any(job in live for job in array.ids())]
