"""Preference pairs: how many of each kind, how alike the two answers are, and whether their length gives them away."""

from __future__ import annotations

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example
from shardmill.quality.measures import Histogram, ValueTally, histogram_chart
from shardmill.quality.model import FigureTable, Mark, QualityFinding, ReportSection
from shardmill.quality.parts import ColumnReading, QualityPart, Rows

STAGE = "pair_preferences"


class Preferences(QualityPart):
    """The pairs that came out."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._most_alike = standing.run.stage(STAGE).options.get("most_alike", 0.9)
        self._sample = Rows(standing, STAGE, ("query_kind", "query", "response", "rejected_response"), 200, seed, "preferences")
        self._kinds, self._longer, self._alike = ValueTally(), ValueTally(), Histogram(0, 1, 50)
        self._words = {"preferred": Histogram(0, 100, 100), "rejected": Histogram(0, 100, 100)}

    def readings(self) -> list[ColumnReading]:
        return [
            *self._sample.readings(),
            ColumnReading(STAGE, ("query_kind", "response", "rejected_response", "answers_alike"), self._look),
        ]

    def _look(self, frame: pl.DataFrame) -> None:
        self._kinds.look(frame["query_kind"])
        self._alike.look(frame["answers_alike"])
        preferred, rejected = (frame[name].str.count_matches(r"\S+") for name in ("response", "rejected_response"))
        self._words["preferred"].look(preferred)
        self._words["rejected"].look(rejected)
        longer = pl.select(
            pl.when(preferred > rejected).then(pl.lit("longer")).when(preferred < rejected).then(pl.lit("shorter"))
        )
        self._longer.look(longer.to_series())

    def findings(self) -> list[QualityFinding]:
        total = self._kinds.total
        if not total:
            return []
        way, count = (self._longer.most(1) or [("longer", 0)])[0]
        shown = [
            example(row["row_id"], f"preferred: {row['response']} / rejected: {row['rejected_response']}", row["sub_id"])
            for row in self._sample.rows
            if (len(row["response"].split()) > len(row["rejected_response"].split())) is (way == "longer")
        ]
        return [
            at_most(
                "preferences.length",
                "The preferred answer is not known by its length.",
                count,
                total,
                look=0.75,
                fail=0.95,
                told=f"the preferred one is the {way}",
                means=f"Training on the pairs teaches {way} answers. Mix kinds of questions, or take out pairs of very unequal "
                "length.",
                examples=shown,
            )
        ]

    def sections(self) -> list[ReportSection]:
        if not self._kinds.total:
            return []
        charts = [
            histogram_chart("preferences.words", "Length of the answers", "words", self._words, note="Bad: two humps far apart."),
            histogram_chart(
                "preferences.alike",
                "How alike the two answers are",
                "cosine",
                {"pairs": self._alike},
                [Mark(label="too alike", at=self._most_alike)],
                note="Bad: most just below the mark, which differ in little.",
            ),
        ]
        rows: list[list[str | float | int | None]] = [[name.upper(), count] for name, count in self._kinds.most()]
        table = FigureTable(id="preferences.kinds", title="Pairs by kind of question", columns=["kind", "pairs"], rows=rows)
        return [ReportSection(id="preferences", title="Preference pairs", charts=charts, tables=[table])]

    def facts(self) -> dict[str, str]:
        return {"preference pairs": f"{self._kinds.total:,}"}
