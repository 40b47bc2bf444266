"""The lines that training reads: always as many texts, in the same order, and how long they are in CLIP tokens."""

from __future__ import annotations

import polars as pl

from shardmill.pages.charts import FigureTable, Mark, TableRow
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection, RowExample
from shardmill.quality.parts import ColumnReading, SampledRows, lists
from shardmill.quality.rules import NEVER, QualityRule, at_most, at_stage
from shardmill.recaption.clip_tokens import LIMIT, clip_tokens

MERGED = "merge_captions"
SAMPLED_LINES = 2_000


def line_rules(names: list[str]) -> list[QualityRule]:
    """The rules on lines whose texts have these names, in their order."""
    texts, sources = pl.col("texts"), pl.col("text_sources")
    has_empty = texts.list.eval(pl.element().str.strip_chars().str.len_chars() == 0).list.any()
    is_whole = (texts.list.len() == len(names)) & (sources.list.len() == len(names)) & ~has_empty
    return at_stage(
        MERGED,
        QualityRule(
            "lines.whole",
            f"Every line has exactly {len(names)} texts, none of them empty.",
            NEVER,
            ("texts", "text_sources"),
            ~is_whole.fill_null(False),
            example=texts.list.join(" | "),
            fault=f"Some lines do not have exactly {len(names)} texts, or have an empty one.",
            advice="Image vector i is trained with text i: a line of another length shifts them. Run merge_captions again.",
        ),
        QualityRule(
            "lines.padded",
            "Few texts are padded with another.",
            at_most(0.1, 0.5),
            ("texts", "text_sources"),
            pl.concat_list([_is_padded(position, name) for position, name in enumerate(names)]),
            example=pl.lit("texts are from: ") + sources.list.join(", "),
            fault="Many texts are padded with another text of their image.",
            advice="Perspectives are missing, so an image's texts repeat each other. The verdicts on captions say why.",
        ),
    )


def _is_padded(position: int, name: str) -> pl.Expr:
    return pl.col("text_sources").list.get(position, null_on_oob=True) != name


class LineLengths(SampledRows):
    """The lengths of the texts in CLIP tokens, on a sample, and how many are padded, over all."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, MERGED, ("texts",), SAMPLED_LINES, seed, "lines")
        self._names: list[str] = finished.run.stage(MERGED).options["texts"]
        self._lines = 0
        self._padded = dict.fromkeys(self._names, 0)
        self._lengths: dict[str, Histogram] = {}
        self._too_long: list[RowExample] = []

    def readings(self) -> list[ColumnReading]:
        return [*super().readings(), ColumnReading(MERGED, ("text_sources",), self._add_batch)]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        sources = frame.select(text_sources=lists("text_sources"))
        self._lines += sources.height
        for position, name in enumerate(self._names):
            self._padded[name] += sources.filter(_is_padded(position, name)).height

    def _measured(self) -> dict[str, Histogram]:
        """The lengths of each text; they are counted at the first call."""
        if not self._lengths:
            self._lengths = {name: Histogram(0, 300, 150) for name in self._names}
            count = clip_tokens().length
            for row in self.rows:
                for name, text in zip(self._names, row["texts"] or [], strict=False):
                    length = count(text)
                    self._lengths[name].add_numbers([length])
                    if length > LIMIT:
                        self._too_long.append(example(row["row_id"], f"{name}, {length} tokens: {text}"))
        return self._lengths

    def findings(self) -> list[QualityFinding]:
        if not self._lines:
            return []
        lengths = self._measured().values()
        longest = max((each.highest for each in lengths), default=0)
        return [
            judged(
                "lines.tokens",
                f"Texts fit CLIP's {LIMIT} tokens.",
                at_most(0.1, 0.5),
                len(self._too_long),
                sum(each.n for each in lengths),
                detail=f"longest {longest:.0f} tokens",
                fault=f"Many texts are longer than CLIP's {LIMIT} tokens.",
                advice="Training cuts what is longer and never reads its end. Ask for shorter captions, or train with a longer "
                "context.",
                examples=self._too_long,
            )
        ]

    def sections(self) -> list[ReportSection]:
        if not self._lines:
            return []
        lengths = self._measured()
        rows: list[TableRow] = [
            [number, name, round(lengths[name].mean, 1), lengths[name].highest, self._padded[name]]
            for number, name in enumerate(self._names, 1)
        ]
        columns = ["position", "text", "mean tokens", "most tokens", "padded"]
        table = FigureTable(id="lines.texts", title="The texts of a line, in their order", columns=columns, rows=rows)
        note = "Bad: much beyond the limit, which training never reads."
        marks = [Mark(label=f"limit {LIMIT}", at=LIMIT)]
        chart = histogram_chart("lines.tokens", "Length in CLIP tokens", "tokens", lengths, marks, note)
        return [ReportSection(id="lines", title="Multi-text lines", charts=[chart], tables=[table])]

    def facts(self) -> dict[str, str]:
        return {"lines": f"{self._lines:,} of {len(self._names)} texts"}
