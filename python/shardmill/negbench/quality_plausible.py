"""Whether what is missing could have been there: does it go together with the row's objects in other captions?"""

from __future__ import annotations

from shardmill.quality.caption_knowledge import CaptionKnowledge, sampled_captions
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, SampledRows
from shardmill.quality.rules import at_least
from shardmill.util.words import percent

ROWS = 10_000
MIN_CAPTIONS = 5
"""Of a name in fewer captions nobody can say what it goes with."""
ENOUGH = 200
FITTING = at_least(0.6, 0.35)
"""Of the captions' own objects 93 % go with another one of their caption, and 24 % of objects that are drawn at random."""


class PlausibleNegatives(QualityPart):
    """The share of negatives that occur in captions together with an object of their row at least as often as by chance, beside
    that of the negatives of other rows. Counted are names in at least five captions of the input.

    Args:
        finished: The finished shards of the run.
        stage: The stage that has the lists of objects.
        seed: The seed of the samples.
    """

    def __init__(self, finished: FinishedShards, stage: str, seed: int) -> None:
        self._captions = sampled_captions(finished, "objects", seed)
        self._rows = SampledRows(finished, stage, ("positive_objects", "negative_objects"), ROWS, seed, "plausible")

    def readings(self) -> list[ColumnReading]:
        return [*(self._captions.readings() if self._captions else []), *self._rows.readings()]

    def findings(self) -> list[QualityFinding]:
        known = CaptionKnowledge(row["objects"] or [] for row in (self._captions.rows if self._captions else ()))
        fitting = counted = 0
        by_chance = tried = 0
        strange: list[RowExample] = []
        others: list[str] = []
        for row in self._rows.rows:
            positives = [name for name in row["positive_objects"] or [] if known.count(name)]
            negatives = [name for name in row["negative_objects"] or [] if known.count(name) >= MIN_CAPTIONS]
            if not positives:
                continue
            misfits = [name for name in negatives if not known.go_together(name, positives)]
            counted += len(negatives)
            fitting += len(negatives) - len(misfits)
            strange += [example(row["row_id"], f"{name}, with {', '.join(positives)}") for name in misfits]
            tried += len(others)
            by_chance += sum(known.go_together(name, positives) for name in others)
            others = negatives
        finding = judged(
            "negatives.plausible",
            "Negatives go with the objects of their row, by the captions of the input.",
            FITTING,
            fitting,
            counted,
            fault="Many negatives do not go with the objects of their row.",
            advice="Random nouns are useless negatives: nobody expects them, so denying them teaches nothing. Only names of at "
            "least five captions are counted.",
            examples=strange,
            detail=f"negatives of other rows would go with them {percent(by_chance / max(tried, 1))}",
            enough=ENOUGH,
        )
        return [finding] if counted else []
