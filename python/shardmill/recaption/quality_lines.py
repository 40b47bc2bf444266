"""The lines that training reads: always as many texts, in the same order, and how long they are in CLIP tokens."""

from __future__ import annotations

from collections import Counter

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example, never
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import FigureTable, Mark, QualityFinding, ReportSection, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, Rows
from shardmill.recaption.clip_tokens import LIMIT, clip_tokens
from shardmill.store.frames import LIST

MERGED = "merge_captions"
SAMPLED = 2_000


class Lines(QualityPart):
    """The lines that training reads: always as many texts, in the same order, and how long they are in CLIP tokens."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._names: list[str] = standing.run.stage(MERGED).options["texts"]
        self._sample = Rows(standing, MERGED, ("texts",), SAMPLED, seed, "lines")
        self._lines = self._wrong = self._padded = 0
        self._by_place = Counter[str]()
        self._examples: list[RowExample] = []
        self._pads: list[RowExample] = []
        self._histograms: dict[str, Histogram] | None = None
        self._long: list[RowExample] = []

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading(MERGED, ("texts", "text_sources"), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        lines = frame.select("row_id", *(pl.col(name).str.json_decode(LIST) for name in ("texts", "text_sources")))
        self._lines += lines.height
        count = len(self._names)
        empty = pl.col("texts").list.eval(pl.element().str.strip_chars().str.len_chars() == 0).list.any()
        sound = (pl.col("texts").list.len() == count) & (pl.col("text_sources").list.len() == count) & ~empty
        wrong = lines.filter(~sound.fill_null(False))
        self._wrong += wrong.height
        self._examples += [example(row_id, str(texts)) for row_id, texts, _ in wrong.head(3).iter_rows()]
        for place, name in enumerate(self._names):
            padded = lines.filter(pl.col("text_sources").list.get(place, null_on_oob=True) != name)
            self._by_place[name] += padded.height
            self._padded += padded.height
            if len(self._pads) < 5:
                self._pads += [example(row, f"{name} is from {own[place]}") for row, _, own in padded.head(3).iter_rows()]

    def _tokens(self) -> dict[str, Histogram]:
        if self._histograms is None:
            self._histograms = {name: Histogram(0, 300, 150) for name in self._names}
            count = clip_tokens().length
            for row in self._sample.rows:
                for name, text in zip(self._names, row["texts"] or [], strict=False):
                    length = count(text)
                    self._histograms[name].look([length])
                    if length > LIMIT:
                        self._long.append(example(row["row_id"], f"{name}, {length} tokens: {text}"))
        return self._histograms

    def findings(self) -> list[QualityFinding]:
        if not self._lines:
            return []
        found = self._tokens()
        texts = sum(each.n for each in found.values())
        bound = "" if clip_tokens().exact else " or more, for want of CLIP's vocabulary"
        return [
            never(
                "lines.whole",
                f"Every line has exactly {len(self._names)} texts, none empty.",
                self._wrong,
                self._lines,
                means="Image vector i is trained with text i: a line of another length shifts them. Do merge_captions again.",
                examples=self._examples,
            ),
            at_most(
                "lines.padded",
                "Few texts are padded with another.",
                self._padded,
                self._lines * len(self._names),
                look=0.1,
                fail=0.5,
                told=", ".join(f"{name} {count:,}" for name, count in self._by_place.most_common(4) if count),
                means="Perspectives are missing, so that an image's texts repeat each other. See why in the verdicts.",
                examples=self._pads,
            ),
            at_most(
                "lines.tokens",
                f"Texts fit CLIP's {LIMIT} tokens.",
                len(self._long),
                texts,
                look=0.1,
                fail=0.5,
                told=f"longest {max((each.highest for each in found.values()), default=0):.0f} tokens{bound}",
                means="What is longer is cut in training, and its end is never read. Ask for shorter captions, or train a "
                "longer context.",
                examples=self._long,
            ),
        ]

    def sections(self) -> list[ReportSection]:
        if not self._lines:
            return []
        rows: list[list[str | float | int | None]] = [
            [place + 1, name, round(self._tokens()[name].mean, 1), self._tokens()[name].highest, self._by_place[name]]
            for place, name in enumerate(self._names)
        ]
        table = FigureTable(
            id="lines.texts",
            title="The texts of a line, in their order",
            columns=["place", "text", "mean tokens", "most tokens", "padded"],
            rows=rows,
        )
        chart = histogram_chart(
            "lines.tokens",
            "Length in CLIP tokens",
            "tokens",
            self._tokens(),
            [Mark(label=f"limit {LIMIT}", at=LIMIT)],
            note=f"Counted with: {clip_tokens().source}. Bad: much beyond the line, which training never reads.",
        )
        return [ReportSection(id="lines", title="Multi-text lines", charts=[chart], tables=[table])]

    def facts(self) -> dict[str, str]:
        return {"lines": f"{self._lines:,} of {len(self._names)} texts"}
