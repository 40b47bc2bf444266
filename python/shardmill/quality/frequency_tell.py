"""Whether what is missing can be told from what is there by how often captions name it."""

from __future__ import annotations

import polars as pl

from shardmill.quality.caption_knowledge import CaptionKnowledge, sampled_captions
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import TOO_FEW, example, threshold_text, verdict_on
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, columns_of
from shardmill.quality.rules import at_most
from shardmill.quality.sampling import RowSample, keys_in
from shardmill.quality.significance import wilson_interval
from shardmill.util.words import count_of, percent

ROWS = 10_000
MIN_CAPTIONS = 1_000
"""In fewer captions most objects are named once or never, and what is drawn as missing cannot be as common as what is there."""
MIN_COMPARED = 100
LIMITS = at_most(0.55, 0.58)


class FrequencyTell(QualityPart):
    """How often a reader is right who takes the rarer of two objects of a row to be the missing one (or the more common one,
    whichever is right more often).

    Args:
        finished: The finished shards of the run.
        stage: The stage whose rows are read.
        id: The beginning of the rule's id.
        plural: What the objects stand in.
        present: A list of the names of a line that are there. List and json columns are JSON text here.
        absent: The same of those that are not.
        captions: The column with the objects that captions name.
        seed: The seed of the samples.
    """

    def __init__(
        self,
        finished: FinishedShards,
        stage: str,
        id: str,
        plural: str,
        present: pl.Expr,
        absent: pl.Expr,
        captions: str,
        seed: int,
    ) -> None:
        self._stage, self._id, self._plural = stage, id, plural
        self._sides = {"present": present, "absent": absent}
        self._sample = RowSample(ROWS, tuple(self._sides), seed, id)
        self._captions = sampled_captions(finished, captions, seed)
        self._column = captions

    def readings(self) -> list[ColumnReading]:
        own = ColumnReading(self._stage, columns_of(self._sides.values()), self._add_batch)
        return [own, *(self._captions.readings() if self._captions else [])]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        self._sample.add_batch(frame.select(*keys_in(frame), **self._sides))

    def findings(self) -> list[QualityFinding]:
        frame = self._sample.frame()
        known = CaptionKnowledge(row[self._column] or [] for row in (self._captions.rows if self._captions else ()))
        rarer, examples = 0.0, []
        compared = 0
        for line in frame.iter_rows(named=True) if frame is not None else ():
            present = [known.count(name) for name in filter(None, line["present"] or [])]
            for name in filter(None, line["absent"] or []):
                if present:
                    compared += 1
                    rarer += sum((count > known.count(name)) + (count == known.count(name)) / 2 for count in present) / len(
                        present
                    )
                    examples.append(self._example(line, name, known))
        if not compared:
            return []
        return [self._finding(rarer, compared, known.captions, examples[:5])]

    @staticmethod
    def _example(line: dict[str, object], name: str, known: CaptionKnowledge) -> RowExample:
        present = [str(each) for each in line["present"] or [] if each]  # type: ignore[attr-defined]
        there = ", ".join(f"{each} in {known.count(each):,}" for each in present)
        return example(line["row_id"], f"{name} is missing, in {count_of(known.count(name), 'caption')}; there are {there}")  # type: ignore[arg-type]

    def _finding(self, rarer: float, compared: int, captions: int, examples: list[RowExample]) -> QualityFinding:
        is_rarer = rarer >= compared / 2
        right = round(max(rarer, compared - rarer))
        low, high = wilson_interval(right / compared, compared)
        shown = f"the {'rarer' if is_rarer else 'more common'} object is the missing one {percent(right / compared)} of the time"
        shown = f"{shown} ({percent(low)} to {percent(high)})"
        verdict, too_few = verdict_on(LIMITS, right, compared), ""
        if captions < MIN_CAPTIONS or compared < MIN_COMPARED:
            needed = f"{MIN_CAPTIONS:,} captions and {MIN_COMPARED:,} missing objects are needed"
            verdict, shown, too_few = "look", f"{needed}: {shown}", TOO_FEW
        return QualityFinding(
            id=f"{self._id}.frequency",
            rule=f"What is missing in {self._plural} is as common in captions as what is there.",
            verdict=verdict,
            value=round(right / compared, 6),
            shown=shown,
            threshold=f"{threshold_text(LIMITS)}; chance is 50 %",
            n=compared,
            fault=f"{too_few}How often captions name a thing tells whether it is missing in the {self._plural}.",
            means="Whoever knows how often captions name things can tell what is missing without looking. Draw it from other "
            "rows' objects, each as often as they have it.",
            examples=examples,
        )
