"""Recaption: captions of several captioners and perspectives, and the lines that training reads (section 6)."""

from __future__ import annotations

from collections import Counter

import polars as pl

from shardmill.core.registry import LABEL
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.inputs import Inputs
from shardmill.quality.judging import at_least, example
from shardmill.quality.measures import ValueTally, bars_chart
from shardmill.quality.model import FigureTable, QualityFinding, ReportSection, RowExample, TextView
from shardmill.quality.objects_and_texts import Texts, TextsSection
from shardmill.quality.parts import ColumnReading, PipelineQuality, QualityPart, Row
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective, perspectives
from shardmill.recaption.quality_captions import CHECKED, Sound
from shardmill.recaption.quality_lines import MERGED, Lines

CAPTIONS = "caption_images"
SAID = pl.List(pl.Struct({"captioner": pl.String, "perspective": pl.String, "text": pl.String, "fault": pl.String}))
SHORT_TOKENS = 60
"""Perspectives with so few tokens are asked for one thing, whose captions are alike by intention."""


class Recaption(PipelineQuality):
    """All that is measured of a recaption run, as far as it has come."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        super().__init__(standing, seed)
        self.parts = [Inputs(standing, ("image",))]
        texts: list[Texts] = []
        if standing.has(CHECKED):
            asked = asked_texts(standing)
            exploded = Exploded()
            texts = [_texts(standing, pair, each, exploded, seed) for pair, each in asked.items()]
            self.parts += [Judged(exploded), Sound(standing, asked, seed), *texts]
        if standing.has(MERGED):
            self.parts.append(Lines(standing, seed))
        self.parts.append(TextsSection(texts))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        nouns = [each for each in row.get("checked") or [] if each["perspective"] == "noun" and each["fault"] is None]
        return [item.strip() for each in nouns[:1] for item in each["text"].split(",") if item.strip()], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        rows = [row for own in lines.values() for row in own]
        if not rows:
            return []
        found = []
        for each in rows[0].get("checked") or []:
            name = text_name(each["captioner"], each["perspective"])
            found.append(TextView(label=name, text=each["text"] or "", kept=each["fault"] is None, why=each["fault"] or ""))
        if not found:
            for column, said in rows[0].items():
                if column == column_of("") or column.startswith(column_of("_")[:-1]):
                    own = column.removeprefix("captions").removeprefix("_")
                    found += [TextView(label=text_name(own, each["perspective"]), text=each["text"] or "") for each in said or []]
        for place, (text, source) in enumerate(zip(rows[0].get("texts") or [], rows[0].get("text_sources") or [], strict=False)):
            found.append(TextView(label=f"line, text {place + 1}", text=text, why=source))
        return found


def asked_texts(standing: FinishedShards) -> dict[tuple[str, str], Perspective]:
    """What each captioner that is judged was asked: (captioner, perspective)."""
    stages = {stage.name.partition(LABEL)[2]: stage for stage in standing.run.plan.stages if stage.name.startswith(CAPTIONS)}
    options = standing.run.stage(CHECKED).options
    known = perspectives(options.get("perspectives_file"))
    return {
        (captioner, name): known[name]
        for captioner in options["captioners"]
        if captioner in stages
        for name in stages[captioner].options["perspectives"]
        if name in known
    }


class Exploded:
    """A batch with a line for each caption; made once for all who look at the same batch."""

    def __init__(self) -> None:
        self._of: pl.DataFrame | None = None
        self._lines = pl.DataFrame()

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if frame is not self._of:
            said = frame.select("row_id", each=pl.col("checked").str.json_decode(SAID)).explode("each").drop_nulls("each")
            self._of, self._lines = frame, said.unnest("each")
        return self._lines


def _texts(standing: FinishedShards, pair: tuple[str, str], asked: Perspective, exploded: Exploded, seed: int) -> Texts:
    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        own = (pl.col("captioner") == pair[0]) & (pl.col("perspective") == pair[1]) & pl.col("fault").is_null()
        return exploded(frame).filter(own).select("row_id", "text")

    name = text_name(*pair)
    long = asked.form == "sentences" and asked.forbids is None and asked.max_tokens > SHORT_TOKENS
    return Texts(
        standing, CHECKED, ("checked",), explode, f"text.{name.replace('/', '.')}", f"{name} captions", seed,
        copies=(0.05, 0.2) if long else None,
        dominance=(0.2, 0.5) if long else None,
        most_words=200,
    )  # fmt: skip


class Judged(QualityPart):
    """What the checks made of the captions, over all of them."""

    def __init__(self, exploded: Exploded) -> None:
        self._exploded = exploded
        self._verdicts = ValueTally()
        self._bad: dict[str, list[RowExample]] = {}

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(CHECKED, ("checked",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        said = self._exploded(frame)
        name = pl.when(pl.col("captioner") == "").then("perspective").otherwise(pl.col("captioner") + "/" + pl.col("perspective"))
        self._verdicts.look(said.select(name + "\t" + pl.col("fault").fill_null("good")).to_series())
        for fault, shown in said.filter(pl.col("fault").is_not_null()).head(500).group_by("fault"):
            own = self._bad.setdefault(str(fault[0]), [])
            own += [example(row["row_id"], f"{fault[0]}: {row['text'] or ''}") for row in shown.head(3 - len(own)).to_dicts()]

    def _by_fault(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for name, count in self._verdicts.most():
            counts[name.partition("\t")[2]] += count
        return counts

    def findings(self) -> list[QualityFinding]:
        counts = self._by_fault()
        told = ", ".join(f"{fault} {count:,}" for fault, count in counts.most_common(6) if fault != "good")
        return [
            at_least(
                "captions.judged",
                "Most captions are good.",
                counts["good"],
                counts.total(),
                look=0.8,
                fail=0.4,
                told=told,
                means="A captioner does not do what it is asked; look at the faults by captioner and perspective.",
                examples=[each for shown in self._bad.values() for each in shown],
            )
        ]

    def sections(self) -> list[ReportSection]:
        counts = self._by_fault()
        if not counts:
            return []
        faults = [fault for fault, _ in counts.most_common()]
        table: dict[str, Counter[str]] = {}
        for both, count in self._verdicts.most():
            name, _, fault = both.partition("\t")
            table.setdefault(name, Counter())[fault] += count
        rows: list[list[str | float | int | None]] = [
            [name, *(own[fault] for fault in faults)] for name, own in sorted(table.items())
        ]
        faulty = [(fault, float(count)) for fault, count in counts.most_common() if fault != "good"]
        charts = [bars_chart("judged.faults", "Faults", "fault", faulty, "Bad: a fault in many captions.")] if faulty else []
        verdicts = FigureTable(id="judged.verdicts", title="Verdicts", columns=["text", *faults], rows=rows)
        return [ReportSection(id="judged", title="Verdicts on captions", charts=charts, tables=[verdicts])]

    def facts(self) -> dict[str, str]:
        counts = self._by_fault()
        return {"captions": f"{counts['good']:,} good of {counts.total():,}"}
