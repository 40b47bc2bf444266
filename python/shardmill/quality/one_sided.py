"""Names that data has only where the object is there, or only where it is missing: who knows the name needs no picture."""

from __future__ import annotations

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.measures import ValueTally
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, columns_of
from shardmill.quality.rules import Limits, at_most
from shardmill.quality.sampling import RowSample, keys_in

MIN_USES = 8
"""A name that is used this often is on one side by chance once in 128 times, if both sides are equally likely."""
ENOUGH = 50
FEW_ONE_SIDED = at_most(0.05, 0.2)
SAMPLED_ROWS = 2_000


class OneSidedNames(QualityPart):
    """The share of the uses of frequent names that are of names used on one side only.

    Args:
        finished: The finished shards of the run.
        stage: The stage that has the names.
        id: The beginning of the rule's id.
        plural: What the names stand in.
        present: A list of the names of a line that are there. List and json columns are JSON text here.
        absent: The same of those that are not.
        min_lines: In fewer lines one-sided names fail nothing: what is missing cannot be drawn from so few rows.
        limits: The share that is allowed.
    """

    def __init__(
        self,
        finished: FinishedShards,
        stage: str,
        id: str,
        plural: str,
        present: pl.Expr,
        absent: pl.Expr,
        min_lines: int = 0,
        limits: Limits = FEW_ONE_SIDED,
    ) -> None:
        self._stage, self._id, self._plural, self._limits = stage, id, plural, limits
        self._min_lines, self._lines = min_lines, 0
        self._sides = {"present": present, "absent": absent}
        self._tallies = {side: ValueTally() for side in self._sides}
        self._sample = RowSample(SAMPLED_ROWS, tuple(self._sides), 0, id)

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, columns_of(self._sides.values()), self._add_batch)]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        self._lines += frame.height
        sides = frame.select(*keys_in(frame), **self._sides)
        for side, tally in self._tallies.items():
            tally.add_values(sides[side].explode())
        self._sample.add_batch(sides)

    def findings(self) -> list[QualityFinding]:
        counts = {side: dict(tally.most_common()) for side, tally in self._tallies.items()}
        uses = {
            name: (counts["present"].get(name, 0), counts["absent"].get(name, 0))
            for name in counts["present"].keys() | counts["absent"].keys()
        }
        frequent = {name: both for name, both in uses.items() if sum(both) >= MIN_USES}
        one_sided = sorted((name for name, both in frequent.items() if not min(both)), key=lambda name: (-sum(uses[name]), name))
        n = sum(map(sum, frequent.values()))
        found = judged(
            f"{self._id}.sides",
            f"Names that the {self._plural} use for what is there are also used for what is missing.",
            self._limits,
            sum(sum(uses[name]) for name in one_sided),
            n,
            fault=f"Some names tell by themselves whether the object is there: the {self._plural} use them on one side only.",
            advice="Who has seen other rows knows from the name alone whether the object is there. Draw what is missing from "
            "the objects of other rows.",
            examples=self._examples(one_sided, counts["present"]),
            detail=", ".join(f"{name} {'always' if uses[name][0] else 'never'}" for name in one_sided[:6]),
            enough=ENOUGH if self._lines >= self._min_lines else n + 1,
        )
        return [found] if found.n else []

    def _examples(self, names: list[str], present: dict[str, int]) -> list[RowExample]:
        frame, wanted = self._sample.frame(), set(names)
        if frame is None:
            return []
        shown = []
        for line in frame.iter_rows(named=True):
            for name in wanted.intersection(filter(None, [*(line["present"] or []), *(line["absent"] or [])])):
                wanted.discard(name)
                text = f"{name} is {'always there' if name in present else 'always missing'}"
                shown.append(example(line["row_id"], text, line.get("sub_id")))
            if len(shown) >= 5:
                break
        return shown
