"""Texts of one kind: their lengths and repetitions over all of them, and on a sample how varied they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import polars as pl

from shardmill.pages.charts import FigureTable, Mark, TableRow
from shardmill.quality.figures import VARIED_TEXTS, compression, distinct_n
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.quality.parts import ColumnReading, QualityPart, columns_of, decoded
from shardmill.quality.repeats import Repeats
from shardmill.quality.rule_checks import copy_examples
from shardmill.quality.rules import Limits, Row, at_most
from shardmill.quality.sampling import RowSample, keys_in
from shardmill.quality.text_patterns import skeleton
from shardmill.util.words import count_of

FEW_COPIES = at_most(0.01, 0.05)
ONE_PATTERN = at_most(0.2, 0.5)
MAX_PATTERNS = 15
TEXT_COLUMNS = ["texts", "number", "mean words", "distinct-1", "distinct-2", "compression", "share of copies"]


class Texts(QualityPart):
    """The texts of one kind.

    Args:
        finished: The finished shards of the run.
        stage: The stage that has them.
        id: The beginning of its rule ids.
        plural: What the texts are called.
        seed: The seed of the sample.
        text: The text of a line, or a list of texts. List and json columns are JSON text here.
        keep: What `pattern` needs of a line, by name; a list stands for one value per text.
        pattern: The pattern of a text, given its line; if not given, the text with its objects masked.
        copies: The share of texts that may repeat another; None for no such rule.
        commonest: The share that a single text may have; None for no such rule.
        one_pattern: The share that a single pattern may have; None for no such rule.
        max_words: The upper end of the histogram of lengths.
    """

    def __init__(
        self,
        finished: FinishedShards,
        stage: str,
        id: str,
        plural: str,
        seed: int,
        text: pl.Expr,
        *,
        keep: Mapping[str, pl.Expr] | None = None,
        pattern: Callable[[str, Row], str] = lambda text, row: skeleton(text),
        copies: Limits | None = FEW_COPIES,
        commonest: Limits | None = None,
        one_pattern: Limits | None = ONE_PATTERN,
        max_words: int = 100,
    ) -> None:
        self._stage, self._expressions = stage, {"text": text, **(keep or {})}
        self.id, self.plural = id, plural
        self._kinds = finished.run.kinds(stage)
        self._pattern = pattern
        self._copies, self._commonest, self._one_pattern = copies, commonest, one_pattern
        self.repeats, self.words = Repeats(), Histogram(0, max_words, min(max_words, 100))
        self._sample = RowSample(VARIED_TEXTS, tuple(self._expressions), seed, id)

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, columns_of(self._expressions.values()), self._add_batch)]

    def lines(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A line for each text of a batch."""
        texts = frame.select(*keys_in(frame), **self._expressions)
        lists = [name for name, dtype in texts.schema.items() if isinstance(dtype, pl.List)]
        return texts.explode(lists) if lists else texts

    def _add_batch(self, frame: pl.DataFrame) -> None:
        texts = self.lines(frame).drop_nulls("text")
        self.repeats.add_texts(texts["row_id"], texts["text"])
        self.words.add_numbers(texts["text"].str.count_matches(r"\S+"))
        self._sample.add_batch(texts)

    @cached_property
    def _sampled(self) -> list[Row]:
        frame = self._sample.frame()
        return [] if frame is None else [decoded(line, self._kinds) for line in frame.iter_rows(named=True)]

    @cached_property
    def _patterns(self) -> list[str]:
        return [self._pattern(row["text"], row) for row in self._sampled]

    @property
    def has_texts(self) -> bool:
        """Whether there is anything to say about its texts."""
        return self.words.n > 0

    def findings(self) -> list[QualityFinding]:
        found = []
        if self._copies is not None:
            found.append(self._copied(self._copies))
        if self._commonest is not None:
            found.append(self._repeated(self._commonest))
        if self._one_pattern is not None:
            found.append(self._dominated(self._one_pattern))
        return [finding for finding in found if finding.n]

    def _copied(self, limits: Limits) -> QualityFinding:
        return judged(
            f"{self.id}.copies",
            f"No two {self.plural} are the same.",
            limits,
            self.repeats.copies,
            self.repeats.total,
            fault=f"Some {self.plural} are repeated.",
            advice="Texts are repeated: the input has duplicates, or too few words vary. Repeated texts weigh more in training, "
            "and may be in both halves of a split.",
            examples=copy_examples(self.repeats),
        )

    def _repeated(self, limits: Limits) -> QualityFinding:
        most = self.repeats.most_common(1)
        return judged(
            f"{self.id}.commonest",
            f"No single text makes up much of the {self.plural}.",
            limits,
            most[0].times if most else 0,
            self.repeats.total,
            fault=f"One text makes up much of the {self.plural}.",
            advice="One text comes again and again: there are few templates, or the input is about few things.",
            examples=copy_examples(self.repeats),
        )

    def _dominated(self, limits: Limits) -> QualityFinding:
        counts = Counter(self._patterns)
        top = _ordered(counts)[0][0] if counts else ""
        examples = [
            example(row["row_id"], row["text"]) for row, own in zip(self._sampled, self._patterns, strict=True) if own == top
        ]
        return judged(
            f"{self.id}.pattern",
            f"The {self.plural} do not share one pattern.",
            limits,
            counts[top],
            counts.total(),
            fault=f"Many {self.plural} share one pattern.",
            advice="One template makes much of the data, and a model learns its words instead of what they say. Vary the prompt "
            "or the template set, or raise the temperature.",
            examples=examples,
            detail=f"“{top}”",
        )

    def figures(self) -> TableRow:
        """Its line in the table of texts: see TEXT_COLUMNS."""
        texts = [row["text"] for row in self._sampled]
        copies = self.repeats.copies / self.repeats.total if self.repeats.total else 0.0
        variety = [round(distinct_n(texts, 1), 4), round(distinct_n(texts, 2), 4), round(compression(texts), 2)]
        return [self.plural, self.words.n, round(self.words.mean, 2), *variety, round(copies, 5)]

    def patterns(self) -> FigureTable:
        """The most frequent patterns, objects masked."""
        counts = Counter(self._patterns)
        total = counts.total()
        return FigureTable(
            id=f"{self.id}.patterns",
            title=f"Most frequent patterns: {self.plural}",
            columns=["pattern", "share"],
            shares=["share"],
            rows=[[each, round(count / total, 4)] for each, count in _ordered(counts)[:MAX_PATTERNS]],
            note=f"Objects are masked. A sample of {count_of(total, 'text')} has {count_of(len(counts), 'different pattern')}.",
        )


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    """The largest counts first, ties in alphabetical order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


class TextsSection(QualityPart):
    """The section about all kinds of texts together: how long and how varied they are."""

    def __init__(self, texts: Sequence[Texts], marks: Sequence[Mark] = ()) -> None:
        self._texts, self._marks = texts, marks

    def sections(self) -> list[ReportSection]:
        known = [each for each in self._texts if each.has_texts]
        if not known:
            return []
        note = "Bad: a spike where a limit cuts, or a tail of texts that never end."
        lengths = histogram_chart(
            "texts.words", "Length", "words", {each.plural: each.words for each in known}, self._marks, note
        )
        table = FigureTable(
            id="texts.variety",
            title="How varied they are",
            columns=TEXT_COLUMNS,
            shares=["distinct-1", "distinct-2", "share of copies"],
            rows=[each.figures() for each in known],
            note=f"Distinct-n and compression are of a seeded sample of {VARIED_TEXTS:,} texts, so that runs can be compared: "
            "a distinct-2 below about 30 %, or a compression above 5, is a sign of templates. Copies are counted over all texts.",
        )
        return [ReportSection(id="texts", title="Texts", charts=[lengths], tables=[table, *(each.patterns() for each in known)])]
