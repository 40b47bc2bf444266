"""The report of the recaption pipeline: captions of several captioners and perspectives, and the lines that training reads."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.core.registry import LABEL
from shardmill.pages.cards import TextView
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.inputs import input_rules
from shardmill.quality.measured_sections import CategoryBars, CrossTable, Figure, MeasuredSection
from shardmill.quality.parts import PipelineQuality
from shardmill.quality.rules import QualityRule, Row, at_least, at_most, items_of
from shardmill.quality.texts import Texts, TextsSection
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective, perspectives
from shardmill.recaption.quality_captions import CHECKED, AskedTexts, Redundancy, caption_rules
from shardmill.recaption.quality_lines import MERGED, LineLengths, line_rules

CAPTIONS = "caption_images"
SHORT_TOKENS = 60
"""Perspectives with so few tokens ask for one thing, and their captions are alike by intention."""
GOOD = "good"
_ITEMS = items_of("checked", "captioner", "perspective", "text", "fault")
_ITEM = pl.element().struct
VERDICTS = _ITEMS.list.eval(_ITEM.field("fault").fill_null(GOOD))
NAMES = _ITEMS.list.eval(
    pl.when(_ITEM.field("captioner") == "")
    .then(_ITEM.field("perspective"))
    .otherwise(_ITEM.field("captioner") + "/" + _ITEM.field("perspective"))
)

JUDGED_RULE = QualityRule(
    "captions.judged",
    "Most captions are good.",
    at_least(0.8, 0.4),
    ("checked",),
    VERDICTS.list.eval(pl.element() == GOOD),
    stage=CHECKED,
    example=_ITEMS.list.eval(
        pl.when(_ITEM.field("fault").is_not_null()).then(
            pl.format("{}: {}", _ITEM.field("fault"), _ITEM.field("text").fill_null(""))
        )
    )
    .list.drop_nulls()
    .list.join(" | "),
    fault="Many captions were found to have a fault.",
    advice="A captioner does not do what it is asked. See the faults by captioner and perspective.",
)


class RecaptionQuality(PipelineQuality):
    """All that is measured of a recaption run, as far as it has come."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, seed)
        self.rules = [*input_rules(finished.run, "image"), JUDGED_RULE]
        texts: list[Texts] = []
        if finished.has(CHECKED):
            asked = asked_texts(finished)
            exploded = ExplodedCaptions()
            texts += [CaptionTexts(finished, pair, each, exploded, seed) for pair, each in asked.items()]
            self.rules += caption_rules(finished, asked)
            self.parts += [VerdictsSection(finished), Redundancy(finished, seed), *texts]
        if finished.has(MERGED):
            self.rules += line_rules(finished.run.stage(MERGED).options["texts"])
            self.parts.append(LineLengths(finished, seed))
        self.parts.append(TextsSection(texts))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        nouns = [each for each in row.get("checked") or [] if each["perspective"] == "noun" and each["fault"] is None]
        return [item.strip() for each in nouns[:1] for item in each["text"].split(",") if item.strip()], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        row = next((row for own in lines.values() for row in own), {})
        found = list(_checked_views(row)) or list(_caption_views(row))
        sources = row.get("text_sources") or []
        for number, (text, source) in enumerate(zip(row.get("texts") or [], sources, strict=False), 1):
            found.append(TextView(label=f"line, text {number}", text=text, why=source))
        return found


def _checked_views(row: Row) -> Iterator[TextView]:
    for each in row.get("checked") or []:
        name = text_name(each["captioner"], each["perspective"])
        yield TextView(label=name, text=each["text"] or "", kept=each["fault"] is None, why=each["fault"] or "")


def _caption_views(row: Row) -> Iterator[TextView]:
    """The captions of a row that are not checked yet."""
    for column, captions in row.items():
        if column == column_of("") or column.startswith(column_of("_")[:-1]):
            captioner = column.removeprefix(column_of("")).removeprefix("_")
            for each in captions or []:
                yield TextView(label=text_name(captioner, each["perspective"]), text=each["text"] or "")


def asked_texts(finished: FinishedShards) -> AskedTexts:
    """What each captioner whose captions are checked was asked for."""
    stages = {stage.name.partition(LABEL)[2]: stage for stage in finished.run.plan.stages if stage.name.startswith(CAPTIONS)}
    options = finished.run.stage(CHECKED).options
    known = perspectives(options.get("perspectives_file"))
    return {
        (captioner, name): known[name]
        for captioner in options["captioners"]
        if captioner in stages
        for name in stages[captioner].options["perspectives"]
        if name in known
    }


class ExplodedCaptions:
    """A batch with a line for each caption; made once for all parts that read the same batch."""

    def __init__(self) -> None:
        self._batch: pl.DataFrame | None = None
        self._lines = pl.DataFrame()

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if frame is not self._batch:
            lines = frame.select("row_id", each=_ITEMS).explode("each").drop_nulls("each")
            self._batch, self._lines = frame, lines.unnest("each")
        return self._lines


class CaptionTexts(Texts):
    """The kept captions of one captioner and perspective."""

    def __init__(
        self, finished: FinishedShards, pair: tuple[str, str], asked: Perspective, exploded: ExplodedCaptions, seed: int
    ) -> None:
        self._pair, self._exploded = pair, exploded
        name = text_name(*pair)
        is_varied = asked.form == "sentences" and asked.forbids is None and asked.max_tokens > SHORT_TOKENS
        super().__init__(
            finished,
            CHECKED,
            f"text.{name.replace('/', '.')}",
            f"{name} captions",
            seed,
            pl.col("checked"),
            copies=at_most(0.05, 0.2) if is_varied else None,
            one_pattern=at_most(0.2, 0.5) if is_varied else None,
            max_words=200,
        )

    def lines(self, frame: pl.DataFrame) -> pl.DataFrame:
        captioner, perspective = self._pair
        own = (pl.col("captioner") == captioner) & (pl.col("perspective") == perspective) & pl.col("fault").is_null()
        return self._exploded(frame).filter(own).select("row_id", "text")


class VerdictsSection(MeasuredSection):
    """The section on what the checks found, over all captions."""

    def __init__(self, finished: FinishedShards) -> None:
        faults = _ITEMS.list.eval(_ITEM.field("fault")).list.drop_nulls()
        figures: list[Figure] = [
            CategoryBars("judged.faults", "Faults", "fault", faults, "Bad: a fault in many captions."),
            CrossTable("judged.verdicts", "Verdicts", "text", NAMES, VERDICTS),
        ]
        counts = {"good": VERDICTS.list.eval(pl.element() == GOOD).list.sum(), "all": VERDICTS.list.len()}
        super().__init__(finished, CHECKED, "judged", "Verdicts on captions", figures, counts)

    def facts(self) -> dict[str, str]:
        counts = super().facts()
        return {"captions": f"{counts['good']} good of {counts['all']}"}
