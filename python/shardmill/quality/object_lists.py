"""Lists of objects: rules on their names, and how often each object comes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from shardmill.language.object_names import distinct, form_problem, is_named, negative_problem
from shardmill.pages.charts import Chart, ChartSeries, FigureTable, TableRow, bars_chart
from shardmill.quality.figures import gini
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.measures import ValueTally
from shardmill.quality.model import ReportSection
from shardmill.quality.parts import ColumnReading, QualityPart, lists
from shardmill.quality.rules import NEVER, QualityRule, Row, at_most, at_stage

MAX_SHOWN = 30
COMMON_OBJECT = at_most(0.25, 0.4)
"""The share of rows that one object may be in. "Man" is in some 15 % of web captions."""


def object_rules(stage: str, present: str, absent: str, text: str | None) -> list[QualityRule]:
    """The rules on the two lists of objects of a row.

    Args:
        stage: The stage that has them.
        present: The list column of objects that are said to be there.
        absent: The list column of objects that are said not to be there.
        text: The text column that the present ones were taken from; None if the run has none.
    """
    texts = () if text is None else (text,)

    def text_of(row: Row) -> str:
        return " ".join(row[name] or "" for name in texts)

    def unnamed(row: Row) -> Iterator[str | None]:
        for name in row[present] or []:
            yield None if is_named(name, text_of(row)) else f"{name} is not in: {text_of(row)}"

    def malformed(row: Row) -> Iterator[str | None]:
        for names in (row[present] or [], row[absent] or []):
            for name in names:
                problem = form_problem(name)
                yield problem and f"{name}: {problem}"
            yield from (f"{name} comes twice" for name in sorted(set(names) - set(distinct(names))))

    def contradicted(row: Row) -> Iterator[str | None]:
        for name in row[absent] or []:
            problem = negative_problem(name, row[present] or [], text_of(row))
            yield problem and f"{name}: {problem}"

    named = QualityRule(
        "objects.named",
        "Present objects are named in the caption, by themselves or by a listed synonym.",
        NEVER,
        (*texts, present),
        unnamed,
        fault="Some objects listed as present are not named in the caption.",
        advice="The model invents objects. Texts about them say what the caption does not.",
    )
    formed = QualityRule(
        "objects.form",
        "Names are those of things, without quantity or opinion words, and none comes twice.",
        NEVER,
        (present, absent),
        malformed,
        fault="Some names are not those of things, have a quantity or an opinion in them, or come twice.",
        advice="Names such as “two big dogs”, or “dogs” beside “dog”, make odd sentences and repeated options.",
    )
    missing = QualityRule(
        "negatives.absent",
        "No absent object is one of the present ones, a synonym, kind or part of one, or affirmed in the caption.",
        NEVER,
        (*texts, present, absent),
        contradicted,
        fault="Some objects listed as absent are there, by another name or as a kind or part of another.",
        advice="What is said to be absent is there after all: captions, questions and answers about it are wrong.",
    )
    return at_stage(stage, *([named] if texts else []), formed, missing)


def common_object_rule(stage: str, column: str, plural: str) -> QualityRule:
    """The rule that no single object is in a large share of the rows; `plural` names the objects of the column."""
    return QualityRule(
        f"objects.{column}",
        f"No object is everywhere among the {plural}.",
        COMMON_OBJECT,
        (column,),
        pl.col(column),
        stage=stage,
        counts="commonest",
        per_line=True,
        fault=f"One object is in many rows among the {plural}.",
        advice="One object is in a large share of the rows, and a model trained on them learns to expect it. Balance the input, "
        "or check whether the model names it wherever it is asked.",
    )


class ObjectFrequencies(QualityPart):
    """A section on how often each object of a list column comes: the most frequent, the rarest, and how they spread."""

    def __init__(self, finished: FinishedShards, stage: str, column: str, plural: str) -> None:
        self._stage, self._column, self._plural = stage, column, plural
        self._names, self._rows = ValueTally(), 0

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, (self._column,), self._add_batch)]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        self._rows += frame.height
        self._names.add_values(frame.select(lists(self._column)).to_series().explode())

    def sections(self) -> list[ReportSection]:
        counts = self._names.counts()
        if not len(counts):
            return []
        id, head = f"objects.{self._column}", self._names.most_common(MAX_SHOWN)
        note = "Bad: a few objects are far more frequent than all others, or names are not those of visible things."
        bars = bars_chart(f"{id}.head", f"The {len(head)} most frequent", "object", head, note)
        tail: list[TableRow] = [list(each) for each in self._names.most_common()[-10:]]
        rarest = FigureTable(id=f"{id}.tail", title="Ten of the rarest", columns=["object", "rows"], rows=tail)
        title = self._plural[:1].upper() + self._plural[1:]
        return [
            ReportSection(
                id=id,
                title=title,
                charts=[bars, rank_chart(f"{id}.rank", counts)],
                tables=[self._spread(f"{id}.spread", counts), rarest],
            )
        ]

    def _spread(self, id: str, counts: np.ndarray) -> FigureTable:
        once, total, dropped = int((counts == 1).sum()), self._names.total, self._names.dropped
        rows: list[TableRow] = [
            ["rows", self._rows],
            ["mentions", total],
            ["different objects", len(counts)],
            ["named once", once],
            ["share named once", round(once / len(counts), 4)],
            ["share of the ten most frequent", round(float(counts[:10].sum()) / total, 4)],
            ["Gini coefficient (0: all equally frequent)", round(gini(counts), 4)],
        ]
        note = f"The {dropped:,} rarest mentions were not counted by name." if dropped else ""
        shares = ["share named once", "share of the ten most frequent"]
        return FigureTable(id=id, title="How they spread", columns=["figure", "value"], rows=rows, shares=shares, note=note)


def rank_chart(id: str, counts: np.ndarray) -> Chart:
    """Counts (the largest first) by rank, both on logarithmic axes, at no more than 60 ranks."""
    ranks = np.unique(np.geomspace(1, len(counts), min(60, len(counts))).astype(int))
    x, y = ranks.astype(float).tolist(), counts[ranks - 1].astype(float).tolist()
    return Chart(
        id=id,
        title="From the most frequent to the rarest",
        kind="lines",
        x_label="rank",
        y_label="rows",
        log=True,
        series=[ChartSeries(name="objects", x=x, y=y)],
        note="Natural data falls in about a straight line. Bad: a cliff after a short flat head, which means a small vocabulary.",
    )
