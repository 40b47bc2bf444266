"""Parts that several pipelines have: objects and how often they come, texts and how varied they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import polars as pl

from shardmill.quality.figures import VARIED_TEXTS, compression, distinct_n, gini, opening, skeleton, top_share
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example, percent
from shardmill.quality.measures import Histogram, Repeats, RowSample, ValueTally, bars_chart, histogram_chart
from shardmill.quality.model import Chart, ChartSeries, FigureTable, Mark, QualityFinding, ReportSection, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, Row, decoded, lists

TOP = 30
OBJECT_LOOK, OBJECT_FAIL = 0.25, 0.4
"""A share of the rows that one object may be in. "Man" is in some 15 % of web captions."""


class Objects(QualityPart):
    """How often each object comes: the head, the tail, and (where it is `judged`) whether one is everywhere."""

    def __init__(self, standing: FinishedShards, stage: str, column: str, called: str, *, judged: bool = True) -> None:
        self._stage, self._column, self._called, self._judged = stage, column, called, judged
        self._names, self._rows = ValueTally(), 0
        self._examples: list[tuple[int, str]] = []

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, (self._column,), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        named = frame.select("row_id", names=lists(self._column))
        self._rows += named.height
        names = named.explode("names").drop_nulls()
        self._names.look(names["names"])
        if len(self._examples) < 2_000:
            self._examples += list(names.head(2_000).iter_rows())

    def findings(self) -> list[QualityFinding]:
        most = self._names.most(1)
        if not most or not self._judged:
            return []
        name, count = most[0]
        shown = [example(row_id, each) for row_id, each in self._examples if each == name]
        return [
            at_most(
                f"objects.{self._column}",
                f"No object is everywhere among the {self._called}.",
                count,
                self._rows,
                look=OBJECT_LOOK,
                fail=OBJECT_FAIL,
                told=name,
                means="One object is in a large share of the rows: a model trained on them learns to expect it. Balance the "
                "input, or see whether the model names it wherever it is asked.",
                examples=shown,
            )
        ]

    def sections(self) -> list[ReportSection]:
        counts = self._names.counts()
        if not len(counts):
            return []
        id, total = f"objects.{self._column}", self._names.total
        once = int((counts == 1).sum())
        head = self._names.most(TOP)
        note = f"The {self._names.let_go:,} rarest mentions were let go while counting." if self._names.let_go else ""
        facts: list[list[str | float | int | None]] = [
            ["rows", self._rows],
            ["mentions", total],
            ["different objects", len(counts)],
            ["named once", once],
            ["share named once", round(once / len(counts), 4)],
            ["share of the ten commonest", round(float(counts[:10].sum()) / total, 4)],
            ["Gini (0: all equally often)", round(gini(counts), 4)],
        ]
        tail = self._names.most()[-10:]
        return [
            ReportSection(
                id=id,
                title=f"Objects: {self._called}",
                charts=[
                    bars_chart(
                        f"{id}.head",
                        f"The {len(head)} commonest",
                        "object",
                        head,
                        note="Bad: a few objects tower over all others, or names that are no visible things.",
                    ),
                    _rank_chart(f"{id}.rank", counts),
                ],
                tables=[
                    FigureTable(id=f"{id}.spread", title="How they spread", columns=["figure", "value"], rows=facts, note=note),
                    FigureTable(
                        id=f"{id}.tail", title="Ten of the rarest", columns=["object", "rows"], rows=[list(each) for each in tail]
                    ),
                ],
            )
        ]


def _rank_chart(id: str, counts: np.ndarray) -> Chart:
    """Counts by rank, both as powers of ten, at no more than 60 ranks."""
    ranks = np.unique(np.geomspace(1, len(counts), min(60, len(counts))).astype(int))
    series = ChartSeries(
        name="objects",
        x=[round(float(value), 4) for value in np.log10(ranks)],
        y=[round(float(value), 4) for value in np.log10(counts[ranks - 1])],
    )
    return Chart(
        id=id,
        title="From the commonest object to the rarest",
        kind="lines",
        x_label="rank (powers of ten)",
        y_label="rows (powers of ten)",
        series=[series],
        note="Natural data falls in about a straight line. Bad: a cliff after a short flat head, which means a small vocabulary.",
    )


class Texts(QualityPart):
    """Texts of one sort: their lengths and repetitions over all of them, and on a sample how varied they are.

    `explode` turns a batch into a frame of `row_id` and `text`; `names` gives the objects of a row, which are masked before texts
    are compared by their pattern; `frame_of` may give the part of a text that a template would make.
    """

    def __init__(
        self,
        standing: FinishedShards,
        stage: str,
        columns: Sequence[str],
        explode: Callable[[pl.DataFrame], pl.DataFrame],
        id: str,
        called: str,
        seed: int,
        *,
        pattern: Callable[[str, Row], str] | None = None,
        copies: tuple[float, float] | None = (0.01, 0.05),
        commonest: tuple[float, float] | None = None,
        dominance: tuple[float, float] | None = (0.2, 0.5),
        openings: tuple[float, float] | None = None,
        most_words: int = 100,
    ) -> None:
        self._stage, self._columns, self._explode = stage, columns, explode
        self.id, self.called = id, called
        self._kinds = standing.run.kinds(stage)
        self._pattern = pattern or (lambda text, row: skeleton(text))
        self._copies, self._commonest, self._dominance, self._openings = copies, commonest, dominance, openings
        self.repeats, self.words = Repeats(), Histogram(0, most_words, min(most_words, 100))
        self._sample = RowSample(VARIED_TEXTS, (*columns, "text"), seed, id)

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, self._columns, self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        texts = self._explode(frame).drop_nulls("text")
        self.repeats.look(texts["row_id"], texts["text"])
        self.words.look(texts["text"].str.count_matches(r"\S+"))
        self._sample.look(texts)

    def _sampled(self) -> list[tuple[str, Row]]:
        frame = self._sample.frame()
        rows = [] if frame is None else [decoded(line, self._kinds) for line in frame.iter_rows(named=True)]
        return [(row["text"], row) for row in rows]

    def findings(self) -> list[QualityFinding]:
        found = []
        if self._copies is not None:
            found.append(self._copied(*self._copies))
        if self._commonest is not None:
            found.append(self._top(*self._commonest))
        sampled = self._sampled()
        if self._dominance is not None:
            found.append(self._dominated("pattern", "pattern", self._pattern, sampled, *self._dominance))
        if self._openings is not None:
            found.append(self._dominated("opening", "first words", lambda text, row: opening(text), sampled, *self._openings))
        return found

    def _copied(self, look: float, fail: float) -> QualityFinding:
        shown: list[RowExample] = []
        for each in self.repeats.most(3):
            shown += [example(row, f"{each.times:,} times: {each.text}") for row in dict.fromkeys(each.rows)]
        return at_most(
            f"{self.id}.copies",
            f"No two {self.called} say the same.",
            self.repeats.extra,
            self.repeats.total,
            look=look,
            fail=fail,
            means="Texts are repeated: the input has doubles, or too few words are varied. Repeats weigh more in training and "
            "may stand in both halves of a split.",
            examples=shown,
        )

    def _top(self, look: float, fail: float) -> QualityFinding:
        most = self.repeats.most(3)
        count = most[0].times if most else 0
        shown = [example(row, f"{each.times:,} times: {each.text}") for each in most for row in dict.fromkeys(each.rows)]
        return at_most(
            f"{self.id}.commonest",
            f"No single text is much of the {self.called}.",
            count,
            self.repeats.total,
            look=look,
            fail=fail,
            means="One text is said again and again: few templates, or an input of few things.",
            examples=shown,
        )

    def _dominated(
        self, what: str, words: str, key: Callable[[str, Row], str], sampled: list[tuple[str, Row]], look: float, fail: float
    ) -> QualityFinding:
        keys = [key(text, row) for text, row in sampled]
        counts = Counter(keys)
        top, _ = top_share(counts)
        shown = [example(row["row_id"], text) for (text, row), own in zip(sampled, keys, strict=True) if own == top]
        return at_most(
            f"{self.id}.{what}",
            f"The {self.called} do not share one {words if what == 'pattern' else 'opening'}.",
            counts[top] if top is not None else 0,
            len(keys),
            look=look,
            fail=fail,
            told=f"“{top}”",
            means="One template makes much of the data; a model learns its words instead of what they say. Vary the prompt or "
            "the template set, or raise the temperature.",
            examples=shown,
        )

    def figures(self) -> list[str | float | int | None]:
        """number, mean words, distinct-1, distinct-2, compression, copies: a row of the table of texts."""
        texts = [text for text, _ in self._sampled()]
        copies = self.repeats.extra / self.repeats.total if self.repeats.total else 0.0
        return [
            self.called,
            self.words.n,
            round(self.words.mean, 2),
            round(distinct_n(texts, 1), 4),
            round(distinct_n(texts, 2), 4),
            round(compression(texts), 2),
            round(copies, 5),
        ]

    def patterns(self) -> FigureTable:
        """The commonest patterns, objects masked."""
        counts = Counter(self._pattern(text, row) for text, row in self._sampled())
        total = max(counts.total(), 1)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:15]
        return FigureTable(
            id=f"{self.id}.patterns",
            title=f"Commonest patterns: {self.called}",
            columns=["pattern", "share"],
            rows=[[each, round(count / total, 4)] for each, count in ordered],
            note=f"Objects are masked. Of a sample of {counts.total():,}, with {len(counts):,} different patterns.",
        )


TEXT_COLUMNS = ["texts", "number", "words each", "distinct-1", "distinct-2", "compression", "share of copies"]


class TextsSection(QualityPart):
    """The section about all sorts of texts together: how long and how varied they are."""

    def __init__(self, texts: Sequence[Texts], marks: Sequence[Mark] = ()) -> None:
        self._texts, self._marks = texts, marks

    def sections(self) -> list[ReportSection]:
        known = [each for each in self._texts if each.words.n]
        if not known:
            return []
        lengths = histogram_chart(
            "texts.words",
            "Length",
            "words",
            {each.called: each.words for each in known},
            self._marks,
            note="Bad: a spike where a limit cuts, or a tail of texts that never end.",
        )
        table = FigureTable(
            id="texts.variety",
            title="How varied they are",
            columns=TEXT_COLUMNS,
            rows=[each.figures() for each in known],
            note=f"Distinct-n and compression are of a seeded sample of {VARIED_TEXTS:,} texts, for comparison between runs: "
            "distinct-2 below about 0.3, or a compression above 5, tells of templates. Copies are counted over all.",
        )
        return [ReportSection(id="texts", title="Texts", charts=[lengths], tables=[table, *(each.patterns() for each in known)])]


def balance(
    id: str,
    rule: str,
    counts: Iterable[tuple[str, int]],
    *,
    look: float,
    fail: float,
    means: str,
    examples: dict[str, list[RowExample]] | None = None,
) -> QualityFinding:
    """A rule by which no category is to have too large a share."""
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    total = sum(count for _, count in ordered)
    name, most = ordered[0] if ordered else ("", 0)
    told = ", ".join(f"{each} {percent(count / total)}" for each, count in ordered[:6]) if total else ""
    shown = (examples or {}).get(name, [])
    return at_most(id, rule, most, total, look=look, fail=fail, means=means, examples=shown, told=told)
