"""Kept captions checked once more: whether they are captions at all, whole, in one script, and different (section 6)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import combinations

from shardmill.language.relations import mentions
from shardmill.language.similarity import cosine, vectors
from shardmill.pages.charts import FigureTable, TableRow
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.quality.parts import SampledRows
from shardmill.quality.rules import NEVER, QualityRule, Row, at_stage
from shardmill.recaption.caption_faults import fault_of
from shardmill.recaption.check_captions import things_shown
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective

CHECKED = "check_captions"
OTHER_SCRIPT = "another script"
CHECKED_CAPTIONS = 4_000
"""Images whose captions are checked one by one."""
COMPARED_ROWS = 1_000
"""Images whose captions are compared pair by pair."""
ENDS = (".", "!", "?", '"', "'", "”", "’", ")")

AskedTexts = dict[tuple[str, str], Perspective]
"""What each captioner was asked for: by captioner and name of the perspective."""


def kept_captions(row: Row) -> list[Row]:
    """The captions of a row that passed their checks."""
    return [each for each in row["checked"] or [] if each["fault"] is None]


class CaptionChecks:
    """Checks of the kept captions of a row.

    Args:
        asked: What the captioners were asked for.
        script: The script that captions must be in, such as "LATIN".
    """

    def __init__(self, asked: AskedTexts, script: str) -> None:
        self._asked, self._script = asked, script

    def _perspective(self, each: Row) -> Perspective | None:
        return self._asked.get((each["captioner"], each["perspective"]))

    def _faults(self, row: Row) -> Iterator[tuple[str | None, Row]]:
        for each in kept_captions(row):
            own = self._perspective(each)
            yield fault_of(each["text"] or "", own.prompt if own else "", self._script), each

    def unusable(self, row: Row) -> Iterator[str | None]:
        """Why a caption is none at all."""
        for fault, each in self._faults(row):
            yield None if fault in (None, OTHER_SCRIPT) else f"{fault}: {each['text']}"

    def foreign(self, row: Row) -> Iterator[str | None]:
        """Whether a caption is in another script."""
        for fault, each in self._faults(row):
            yield f"{fault}: {each['text']}" if fault == OTHER_SCRIPT else None

    def cut_off(self, row: Row) -> Iterator[str | None]:
        """Whether a caption of sentences ends in the middle of one."""
        for each in kept_captions(row):
            own = self._perspective(each)
            is_cut = own is not None and own.form == "sentences" and _was_cut(row, each)
            yield f"…{(each['text'] or '')[-120:]}" if is_cut else None

    def naming(self, row: Row) -> Iterator[str | None]:
        """Whether a caption names things that its perspective forbids."""
        for each in kept_captions(row):
            own = self._perspective(each)
            if own is not None and own.forbids is not None:
                others = [other for other in row["checked"] if other["captioner"] == each["captioner"]]
                named = [thing for thing in things_shown(others, row.get("caption"), own) if mentions(each["text"], thing)]
                yield f"names {named[0]}: {each['text']}" if named else None


def caption_rules(finished: FinishedShards, asked: AskedTexts) -> list[QualityRule]:
    """The rules on kept captions."""
    options = finished.run.stage(CHECKED).options
    script = "LATIN" if options["script"] == "any" else options["script"]
    sources = tuple(column_of(captioner) for captioner in options["captioners"])
    checks = CaptionChecks(asked, script)
    return at_stage(
        CHECKED,
        QualityRule(
            "captions.sound",
            "No kept caption is empty, a refusal, its own prompt, or a loop.",
            NEVER,
            ("checked",),
            checks.unusable,
            max_rows=CHECKED_CAPTIONS,
            fault="Some kept captions are empty, a refusal, their own prompt, or a loop.",
            advice="Texts that say nothing about the image teach the encoder noise. Run check_captions again.",
        ),
        QualityRule(
            "captions.script",
            f"Kept captions are written in {script.capitalize()} letters.",
            NEVER,
            ("checked",),
            checks.foreign,
            max_rows=CHECKED_CAPTIONS,
            fault=f"Some kept captions are not written in {script.capitalize()} letters.",
            advice="A captioner answered in another language, which CLIP's tokenizer breaks into fragments. Set "
            "check_captions.script.",
        ),
        QualityRule(
            "captions.whole",
            "No kept caption is cut off in a sentence by the token limit.",
            NEVER,
            ("checked", *sources),
            checks.cut_off,
            max_rows=CHECKED_CAPTIONS,
            fault="Some kept captions are cut off in a sentence by the token limit.",
            advice="Captions end in the middle: set a larger limit, or ask for less in the prompt.",
        ),
        QualityRule(
            "captions.forbidden",
            "Captions of background and style do not name the main object.",
            NEVER,
            ("checked",),
            checks.naming,
            max_rows=CHECKED_CAPTIONS,
            fault="Some captions of background or style name the main object.",
            advice="The perspectives say the same, but are meant to complement each other.",
        ),
    )


def _was_cut(row: Row, each: Row) -> bool:
    """Whether a caption reached its token limit and does not end as a sentence does."""
    captions = row.get(column_of(each["captioner"])) or []
    source: Row = next((other for other in captions if other["perspective"] == each["perspective"]), {})
    return source.get("finish") == "length" and not (each["text"] or "").rstrip().endswith(ENDS)


class Redundancy(SampledRows):
    """How alike the texts of one image are, and CLIP's scores, on a sample of the rows."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, CHECKED, ("checked", "clip_scores"), CHECKED_CAPTIONS, seed, "captions")
        self._limit = finished.run.stage(CHECKED).options["near_duplicate"]

    @cached_property
    def _pairs(self) -> list[tuple[int, Row, Row, float]]:
        """(row_id, a caption, another caption of the image, their cosine) of every pair."""
        found = []
        for row in self.every_nth(COMPARED_ROWS):
            kept = kept_captions(row)
            own = vectors([each["text"] for each in kept])
            pairs = combinations(range(len(kept)), 2)
            found += [(row["row_id"], kept[one], kept[two], cosine(own[one], own[two])) for one, two in pairs]
        return found

    def findings(self) -> list[QualityFinding]:
        near = [
            example(row_id, f"{_name(one)} and {_name(two)} ({alike:.2f}): {one['text']} / {two['text']}")
            for row_id, one, two, alike in self._pairs
            if alike > self._limit
        ]
        finding = judged(
            "captions.redundant",
            "No two texts of an image say nearly the same.",
            NEVER,
            len(near),
            len(self._pairs),
            fault="Some images have two texts that say nearly the same.",
            advice="A second text that repeats the first adds nothing to training. Drop it with check_captions.near_duplicate.",
            examples=near,
        )
        return [finding] if self._pairs else []

    def sections(self) -> list[ReportSection]:
        alike: dict[tuple[str, str], list[float]] = {}
        for _, one, two, value in self._pairs:
            alike.setdefault((_name(one), _name(two)), []).append(value)
        if not alike:
            return self._scores()
        rows: list[TableRow] = [
            [*pair, round(sum(values) / len(values), 4), round(max(values), 4), len(values)] for pair, values in alike.items()
        ]
        rows.sort(key=lambda row: -float(row[2] or 0))
        table = FigureTable(
            id="redundancy.pairs",
            title="How alike the texts of one image are",
            columns=["text", "other text", "mean cosine", "largest", "images"],
            rows=rows,
            note="Cosines of hashed n-grams, on a sample. Bad: a mean above about 0.6, because two perspectives say the same.",
        )
        return [ReportSection(id="redundancy", title="Perspectives side by side", tables=[table]), *self._scores()]

    def _scores(self) -> list[ReportSection]:
        found: dict[str, Histogram] = {}
        for row in self.rows:
            for name, score in (row.get("clip_scores") or {}).items():
                found.setdefault(name, Histogram(-0.1, 0.6, 70)).add_numbers([score])
        if not found:
            return []
        note = "Bad: a hump near 0, which means captions of other images."
        chart = histogram_chart("clip.scores", "Similarity of captions to their image", "cosine", found, note=note)
        return [ReportSection(id="clip", title="CLIP scores", charts=[chart])]


def _name(each: Row) -> str:
    return text_name(each["captioner"], each["perspective"])
