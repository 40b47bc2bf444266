"""Kept captions looked at once more: whether they are captions at all, whole, in one script, and different (section 6)."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from shardmill.language.relations import mentions
from shardmill.language.similarity import cosine, vectors
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, never
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import FigureTable, QualityFinding, ReportSection, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, Row, Rows
from shardmill.recaption.caption_faults import fault_of
from shardmill.recaption.check_captions import things_shown
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective

CHECKED = "check_captions"
SAMPLED = 4_000
ENDS = (".", "!", "?", '"', "'", "”", "’", ")")


class Sound(QualityPart):
    """Kept captions looked at once more, on a sample: whether they are captions at all, whole, in one script, and different."""

    def __init__(self, standing: FinishedShards, asked: dict[tuple[str, str], Perspective], seed: int) -> None:
        self._asked = asked
        options = standing.run.stage(CHECKED).options
        self._script, self._alike = options["script"], options["near_duplicate"]
        own = [column_of(captioner) for captioner in options["captioners"]]
        self._sample = Rows(standing, CHECKED, ("caption", "checked", "clip_scores", *own), SAMPLED, seed, "captions")

    def readings(self) -> list[ColumnReading]:
        return self._sample.readings()

    def _kept(self) -> list[tuple[Row, Row]]:
        return [(row, each) for row in self._sample.rows for each in row["checked"] or [] if each["fault"] is None]

    def findings(self) -> list[QualityFinding]:
        kept = self._kept()
        if not kept:
            return []
        return [*self._alone(kept), self._whole(kept), self._forbidden(), self._redundant()]

    def _alone(self, kept: list[tuple[Row, Row]]) -> list[QualityFinding]:
        faulty: list[RowExample] = []
        foreign: list[RowExample] = []
        counts = Counter[str]()
        script = "LATIN" if self._script == "any" else self._script
        for row, each in kept:
            asked = self._asked.get((each["captioner"], each["perspective"]))
            fault = fault_of(each["text"] or "", asked.prompt if asked else "", script)
            counts[fault or "good"] += 1
            if fault is not None:
                (foreign if fault == "another script" else faulty).append(example(row["row_id"], f"{fault}: {each['text']}"))
        bad = counts.total() - counts["good"] - counts["another script"]
        told = ", ".join(f"{fault} {count:,}" for fault, count in counts.most_common() if fault not in ("good", "another script"))
        return [
            never(
                "captions.sound",
                "No kept caption is empty, a refusal, its own prompt, or a loop.",
                bad,
                counts.total(),
                told=told,
                means="Texts that say nothing of the image teach the encoder noise. Do check_captions again.",
                examples=faulty,
            ),
            never(
                "captions.script",
                f"Kept captions are written in {script.capitalize()} letters.",
                counts["another script"],
                counts.total(),
                means="A captioner answered in another language: CLIP's tokenizer makes fragments of it. Set "
                "check_captions.script.",
                examples=foreign,
            ),
        ]

    def _whole(self, kept: list[tuple[Row, Row]]) -> QualityFinding:
        cut: list[RowExample] = []
        bad = 0
        for row, each in kept:
            asked = self._asked.get((each["captioner"], each["perspective"]))
            said = row.get(column_of(each["captioner"])) or []
            entry: Row = next((other for other in said if other["perspective"] == each["perspective"]), {})
            sentences = asked is not None and asked.form == "sentences"
            if entry.get("finish") == "length" and sentences and not (each["text"] or "").rstrip().endswith(ENDS):
                bad += 1
                cut.append(example(row["row_id"], f"…{(each['text'] or '')[-120:]}"))
        return never(
            "captions.whole",
            "No kept caption is cut off in a sentence by the token limit.",
            bad,
            len(kept),
            means="Captions end in the middle: a larger limit, or a prompt that asks for less.",
            examples=cut,
        )

    def _forbidden(self) -> QualityFinding:
        """The rule of perspectives that must not name objects, checked as `check_captions` does."""
        bad: list[RowExample] = []
        checked = wrong = 0
        for row in self._sample.rows:
            for each in row["checked"] or []:
                asked = self._asked.get((each["captioner"], each["perspective"]))
                if each["fault"] is None and asked is not None and asked.forbids is not None:
                    checked += 1
                    said = [other for other in row["checked"] if other["captioner"] == each["captioner"]]
                    named = [thing for thing in things_shown(said, row["caption"], asked) if mentions(each["text"], thing)]
                    wrong += bool(named)
                    bad += [example(row["row_id"], f"names {named[0]}: {each['text']}")] if named else []
        return never(
            "captions.forbidden",
            "Captions of background and style do not name the main object.",
            wrong,
            checked,
            means="The perspectives say the same; they are asked for to be complementary.",
            examples=bad,
        )

    def _redundant(self) -> QualityFinding:
        near: list[RowExample] = []
        pairs = bad = 0
        for row, one, two, alike in self._pairs():
            pairs += 1
            if alike > self._alike:
                bad += 1
                names = [text_name(each["captioner"], each["perspective"]) for each in (one, two)]
                near.append(example(row["row_id"], f"{' and '.join(names)} ({alike:.2f}): {one['text']} / {two['text']}"))
        return never(
            "captions.redundant",
            "No two texts of an image say nearly the same.",
            bad,
            pairs,
            means="A second text that repeats the first adds nothing to training: drop it with check_captions.near_duplicate.",
            examples=near,
        )

    def _pairs(self) -> list[tuple[Row, Row, Row, float]]:
        found = []
        for row in self._sample.some(SAMPLED // 4):
            said = [each for each in row["checked"] or [] if each["fault"] is None]
            own = vectors([each["text"] for each in said])
            found += [(row, said[one], said[two], cosine(own[one], own[two])) for one, two in combinations(range(len(said)), 2)]
        return found

    def sections(self) -> list[ReportSection]:
        alike: dict[tuple[str, str], list[float]] = {}
        for _, one, two, value in self._pairs():
            pair = text_name(one["captioner"], one["perspective"]), text_name(two["captioner"], two["perspective"])
            alike.setdefault(pair, []).append(value)
        if not alike:
            return []
        rows: list[list[str | float | int | None]] = [
            [*pair, round(sum(values) / len(values), 4), round(max(values), 4), len(values)] for pair, values in alike.items()
        ]
        rows.sort(key=lambda row: -float(row[2] or 0))
        table = FigureTable(
            id="redundancy.pairs",
            title="How alike the texts of one image are",
            columns=["text", "other text", "mean cosine", "largest", "images"],
            rows=rows,
            note="Of hashed n-grams, on a sample. Bad: a mean above about 0.6; the two perspectives are one.",
        )
        return [ReportSection(id="redundancy", title="Perspectives beside one another", tables=[table]), *self._scores()]

    def _scores(self) -> list[ReportSection]:
        found: dict[str, Histogram] = {}
        for row in self._sample.rows:
            for name, score in (row.get("clip_scores") or {}).items():
                found.setdefault(name, Histogram(-0.1, 0.6, 70)).look([score])
        if not found:
            return []
        chart = histogram_chart(
            "clip.scores",
            "Similarity of captions to their image",
            "cosine",
            found,
            note="Bad: a hump near 0: captions of others.",
        )
        return [ReportSection(id="clip", title="CLIP scores", charts=[chart])]
