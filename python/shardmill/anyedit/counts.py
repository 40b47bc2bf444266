"""What became of the instructions of each type: how many, why not, and how varied they are."""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from shardmill.core.seeding import seed_of

SAMPLE = 5_000
"""Instructions of a type that its variety is measured on, drawn by their keys."""
WORD = re.compile(r"\w+(?:['’]\w+)*")


class EditCounts:
    """Counts by type, in memory that does not grow with the instructions."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._rejected: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._sample: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)

    def take(self, kind: str, instruction: str, key: tuple[int, int]) -> None:
        """Count an instruction."""
        self._taken[kind] += 1
        entry = (-seed_of("variety", *key), instruction)
        drawn = self._sample[kind]
        if len(drawn) < SAMPLE:
            heapq.heappush(drawn, entry)
        else:
            heapq.heappushpop(drawn, entry)

    def reject(self, kind: str, reason: str) -> None:
        """Count a rejected one."""
        self._rejected[kind][reason] += 1

    def by_type(self) -> dict[str, dict[str, Any]]:
        """For each type: `out`, `rejected` by reason, and of a sample distinct-1, distinct-2 and the share of the commonest."""
        kinds = sorted(self._taken.keys() | self._rejected.keys())
        return {
            kind: {
                "out": self._taken[kind],
                "rejected": dict(sorted(self._rejected[kind].items())),
                **variety([text for _, text in self._sample[kind]]),
            }
            for kind in kinds
        }

    def told(self) -> list[str]:
        """A line for people on all types, and one on what was rejected."""
        if not self._taken:
            return []
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self._taken.most_common())
        reasons = sum(self._rejected.values(), Counter[str]())
        told = [f"instructions: {self._taken.total():,} of {len(self._taken)} types ({kinds})"]
        if reasons:
            told.append(f"rejected: {', '.join(f'{reason} {count:,}' for reason, count in reasons.most_common())}")
        return told


def variety(texts: list[str]) -> dict[str, float]:
    """distinct-1 and distinct-2, the share of different words and word pairs among all of them (Li et al., 2016,
    arXiv:1510.03055), and the share of the commonest text.
    """
    if not texts:
        return {}
    words = [[word.lower() for word in WORD.findall(text)] for text in texts]
    single = Counter(word for text in words for word in text)
    pairs = Counter(pair for text in words for pair in pairwise(text))
    commonest = Counter(" ".join(text) for text in words).most_common(1)[0][1]
    return {
        "distinct_1": round(len(single) / max(single.total(), 1), 4),
        "distinct_2": round(len(pairs) / max(pairs.total(), 1), 4),
        "commonest_share": round(commonest / len(texts), 4),
    }
