"""What the GPUs that a run had allocated were doing, phase by phase: from the allocations, and from the finished shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shardmill.store.jobs import Allocation


class FinishedWork(Protocol):
    """When a worker did a shard: see `Manifest`."""

    @property
    def element(self) -> str: ...
    @property
    def worker(self) -> str: ...
    @property
    def begun(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def loading(self) -> float: ...
    @property
    def gpus(self) -> int: ...


@dataclass
class GpuTime:
    """GPU-hours of a phase, whose `stages` these are.

    Attributes:
        held: Of all allocations, until each node was released.
        asking: Of workers while a shard was with a model.
        loading: Of workers that loaded a model.
        waiting: Of workers between their first shard and their last, with a stage that has no model, or without input.
        idle: The rest: starting, waiting for the other workers of the node at the end, and work that was lost.
    """

    stages: list[str]
    held: float = 0.0
    asking: float = 0.0
    loading: float = 0.0
    waiting: float = 0.0

    @property
    def idle(self) -> float:
        return max(0.0, self.held - self.asking - self.loading - self.waiting)

    def shares(self) -> dict[str, float]:
        """The share of the held time that each of its parts is."""
        parts = {"asking": self.asking, "loading": self.loading, "waiting": self.waiting, "idle": self.idle}
        return {name: hours / (sum(parts.values()) or 1.0) for name, hours in parts.items()}


def gpu_time(
    allocations: Iterable[Allocation], finished: Mapping[tuple[str, int], FinishedWork], with_model: Collection[str]
) -> list[GpuTime]:
    """The GPU time of each phase, in the order in which they got their first nodes.

    Args:
        allocations: The nodes that the run's jobs had.
        finished: The finished shards, by (stage, shard).
        with_model: The stages that have a model.
    """
    found: dict[tuple[str, ...], GpuTime] = {}
    phase_of: dict[str, GpuTime] = {}
    for each in sorted(allocations, key=lambda each: each.started):
        if each.gpus:
            phase = phase_of[each.job] = found.setdefault(tuple(each.stages), GpuTime(list(each.stages)))
            phase.held += each.hours * each.gpus
    workers: dict[tuple[str, str, int], list[tuple[FinishedWork, bool]]] = defaultdict(list)
    for (stage, _), made in finished.items():
        if made.element in phase_of and made.gpus:
            workers[made.element, made.worker, made.gpus].append((made, stage in with_model))
    for (element, _, gpus), shards in workers.items():
        spans = [(made.begun, made.begun + made.seconds) for made, _ in shards]
        asking = _covered([span for span, (_, model) in zip(spans, shards, strict=True) if model])
        loading = min(sum(made.loading for made, _ in shards), asking)
        between = max(end for _, end in spans) - min(begin for begin, _ in spans)
        phase, hours = phase_of[element], gpus / 3600
        phase.asking += (asking - loading) * hours
        phase.loading += loading * hours
        phase.waiting += (between - asking) * hours
    return list(found.values())


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The seconds that at least one of the spans covers: a worker may have two shards at a time.

    >>> _covered([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0)])
    4.0
    """
    seconds, last = 0.0, float("-inf")
    for begin, end in sorted(spans):
        seconds += max(0.0, end - max(begin, last))
        last = max(last, end)
    return seconds
