"""What a reader may know of objects without any picture: how often captions name them, alone and together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import median

from shardmill.language.canonical_names import canonical_names
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.parts import SampledRows

KNOWN_CAPTIONS = 20_000


class CaptionKnowledge:
    """How often captions name objects.

    Args:
        captions: The objects of each caption.

    Attributes:
        captions: How many captions it was.
        middle: The logarithm of the median count of an object, with one added.
    """

    def __init__(self, captions: Iterable[Sequence[str]]):
        lists = [list(dict.fromkeys(names)) for names in captions]
        canonical = canonical_names(Counter(name for names in lists for name in names))
        self.captions = len(lists)
        self._count: Counter[str] = Counter()
        self._together: Counter[tuple[str, str]] = Counter()
        for names in lists:
            own = sorted({canonical[name] for name in names if name in canonical})
            self._count.update(own)
            self._together.update(combinations(own, 2))
        self.middle = math.log1p(median(self._count.values())) if self._count else 0.0

    def count(self, name: str) -> int:
        """How many captions name an object."""
        return self._count[name]

    def together(self, one: str, other: str) -> int:
        """How many captions name both objects."""
        return self._together[min(one, other), max(one, other)]

    def lift(self, one: str, other: str) -> float:
        """The logarithm of how much more often two objects are named together than by chance, with half a caption added."""
        return math.log((self.together(one, other) + 0.5) * self.captions / ((self.count(one) + 0.5) * (self.count(other) + 0.5)))

    def go_together(self, name: str, others: Iterable[str]) -> bool:
        """Whether captions name an object together with one of the others, and at least as often as by chance."""
        return any(self.together(name, other) and self.lift(name, other) >= 0 for other in others)


def sampled_captions(finished: FinishedShards, column: str, seed: int) -> SampledRows | None:
    """The objects of captions as the first stage has them that lists them, before any was checked; None if none does."""
    stage = next((name for name in finished.run.stages if finished.has(name, column)), None)
    return SampledRows(finished, stage, (column,), KNOWN_CAPTIONS, seed, "captions") if stage else None
