"""Multiple-choice questions: exactly one true option, and no way to tell which without the picture (section 3)."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import polars as pl

from shardmill.language.polarity import check_polarity
from shardmill.negbench.mcq_forms import plain
from shardmill.quality.blind import CHANCE, TOLERANCE, Baseline, BlindQuestion, blind_baselines
from shardmill.quality.figures import skeleton, uniform_p
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_least, at_most, example, never, percent
from shardmill.quality.measures import Repeats, ValueTally, bars_chart
from shardmill.quality.model import Chart, ChartSeries, FigureTable, Mark, QualityFinding, ReportSection, RowExample, Verdict
from shardmill.quality.objects_and_texts import Texts
from shardmill.quality.parts import CHECKED_ROWS, ColumnReading, QualityPart, Row, Rows

OPTIONS = range(4)
LETTERS = "ABCD"
BLIND_QUESTIONS = 30_000
"""Questions that blind readers try: enough for half a point, few enough to hold."""
ENOUGH, LEAST = 2_000, 50
"""Questions that settle what a blind reader can do, and so few that nothing fails by them: there are six readers."""
MAX_SHARE = 0.28


class Questions(QualityPart):
    """The questions of the last stage that has them: the paraphrased ones, or those of the template."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._paraphrased = standing.has("paraphrase_mcq")
        self._stage = stage = "paraphrase_mcq" if self._paraphrased else "create_mcq"
        prefix = "paraphrase" if self._paraphrased else "caption"
        self._texts = [f"{prefix}_{index}" for index in OPTIONS]
        self._style = standing.run.stage("create_mcq").options.get("style", "balanced") if "create_mcq" in standing.stages else ""
        columns = (*self._texts, "option_truths", "correct_answer", "mcq_objects", "correct_answer_template")
        self._sample = Rows(standing, stage, columns, BLIND_QUESTIONS, seed, "questions")
        self._places, self._cells, self._both, self._new = ValueTally(), ValueTally(), ValueTally(), ValueTally()
        self._repeats, self._count = Repeats(), 0
        self._baselines: list[Baseline] | None = None
        self._by_place: dict[str, list[RowExample]] = {}
        self.texts = Texts(
            standing,
            stage,
            (*self._texts, "option_truths", "correct_answer"),
            self._right,
            "mcq.right",
            "true options",
            seed,
            pattern=_pattern,
            copies=None,
            dominance=(0.3, 0.6),
        )

    def _right(self, frame: pl.DataFrame) -> pl.DataFrame:
        own = [pl.when(pl.col("correct_answer") == index).then(name) for index, name in enumerate(self._texts)]
        return frame.select("row_id", "sub_id", "option_truths", text=pl.coalesce(own))

    def readings(self) -> list[ColumnReading]:
        columns = ("correct_answer", "correct_answer_template", "paraphrased", *self._texts)
        return [*self._sample.readings(), ColumnReading(self._stage, columns, self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        self._count += frame.height
        places = frame["correct_answer"].cast(pl.String)
        self._places.look(places)
        self._cells.look(frame["correct_answer_template"])
        self._both.look(frame["correct_answer_template"] + " " + places)
        self._repeats.look(frame["row_id"], frame.select(pl.concat_str(self._texts, separator=" | ")).to_series())
        if "paraphrased" in frame.columns:
            flags = frame.select(pl.col("paraphrased").str.json_decode(pl.List(pl.Boolean)).list.sum())
            self._new.look(flags.to_series())
        if len(self._by_place) < 4 or min(map(len, self._by_place.values())) < 3:
            for row in frame.head(500).iter_rows(named=True):
                shown = self._by_place.setdefault(str(row["correct_answer"]), [])
                if len(shown) < 3 and row["correct_answer"] in OPTIONS:
                    text = f"{LETTERS[row['correct_answer']]}: {row[self._texts[row['correct_answer']]]}"
                    shown.append(example(row["row_id"], text, row["sub_id"]))

    def baselines(self) -> list[Baseline]:
        """Blind readers on a sample of the questions."""
        if self._baselines is None:
            found = [self._question(row) for row in self._sample.rows if _is_whole(row, self._texts)]
            self._baselines = blind_baselines(found) if found else []
        return self._baselines

    def _question(self, row: Row) -> BlindQuestion:
        texts = tuple(row[name] for name in self._texts)
        half = crc32(str(row["row_id"]).encode()) & 1
        return BlindQuestion(texts, tuple(row["option_truths"]), row["correct_answer"], half)

    def findings(self) -> list[QualityFinding]:
        if not self._count:
            return []
        found = [*self._one_true(), self._position(), self._cell(), *map(self._blind, self.baselines()), self._copied()]
        return [*found, self._reworded()] if self._paraphrased else found

    def _one_true(self) -> list[QualityFinding]:
        """Exactly one option is true, and the words of each say what it is taken to claim."""
        wrong, misworded = [], []
        rows = [row for row in self._sample.rows if _is_whole(row, self._texts)]
        for row in rows:
            there = {each["name"]: each["present"] for each in row["mcq_objects"] or []}
            true = [
                index
                for index, claim in enumerate(row["option_truths"])
                if all(there.get(name) == claimed for name, claimed in claim.items())
            ]
            alike = len({plain(row[name]) for name in self._texts}) < 4
            if true != [row["correct_answer"]] or alike:
                wrong.append((row, "two options are alike" if alike else f"true are {[LETTERS[index] for index in true]}"))
        checked = [row for row in self._sample.some(CHECKED_ROWS) if _is_whole(row, self._texts)]
        for row in checked:
            for name, claim in zip(self._texts, row["option_truths"], strict=True):
                if (problem := check_polarity(row[name], claim)) is not None:
                    misworded.append((row, f"{problem}: {row[name]}"))
        return [
            never(
                "mcq.one_true",
                "Exactly one option is true, and no two are equal.",
                len(wrong),
                len(rows),
                means="Questions without an answer, or with two. Do create_mcq again.",
                examples=[example(row["row_id"], text, row["sub_id"]) for row, text in wrong[:5]],
            ),
            never(
                "mcq.polarity",
                "The words of every option affirm and deny what it is taken to claim.",
                len(misworded),
                4 * len(checked),
                means="A paraphrase turned a claim around: the marked option is not the true one.",
                examples=[example(row["row_id"], text, row["sub_id"]) for row, text in misworded[:5]],
            ),
        ]

    def _position(self) -> QualityFinding:
        counts = dict(self._places.most())
        places = [counts.get(str(index), 0) for index in OPTIONS]
        worst = max(OPTIONS, key=lambda index: places[index])
        share, p = places[worst] / max(sum(places), 1), uniform_p(places)
        verdict: Verdict = "pass"
        if p < 0.001:
            verdict = "fail" if share > MAX_SHARE + 0.04 else "look"
        told = ", ".join(f"{LETTERS[index]} {percent(places[index] / max(sum(places), 1))}" for index in OPTIONS)
        return QualityFinding(
            id="mcq.position",
            rule="The true option is as often in each place.",
            verdict=verdict,
            value=round(share, 6),
            shown=f"{told} (chi square: p = {p:.2g})",
            threshold="p at least 0.001; fails below it with a place above 32.0 %",
            n=sum(places),
            means="A reader who always picks one letter scores above chance. Shuffle the options by row.",
            examples=self._by_place.get(str(worst), []),
        )

    def _cell(self) -> QualityFinding:
        counts = self._cells.most()
        look, fail = (MAX_SHARE + 0.02, 0.35) if self._style == "balanced" else (0.5, 0.7)
        name, most = counts[0] if counts else ("", 0)
        told = ", ".join(f"{each} {percent(count / max(self._cells.total, 1))}" for each, count in counts)
        rows = [row for row in self._sample.some(2_000) if row["correct_answer_template"] == name]
        shown = [example(row["row_id"], str(row[self._texts[row["correct_answer"]]]), row["sub_id"]) for row in rows[:5]]
        return at_most(
            "mcq.cells",
            "Each kind of option is true about equally often.",
            most,
            self._cells.total,
            look=look,
            fail=fail,
            told=told,
            means="One kind of statement is true more often, so that its wording alone gives points.",
            examples=shown,
        )

    def _blind(self, baseline: Baseline) -> QualityFinding:
        """A blind reader; few questions cannot clear one that seems to do well."""
        prior = baseline.name == "object prior"
        verdict: Verdict = "pass"
        if baseline.accuracy > CHANCE + TOLERANCE:
            verdict = "fail" if baseline.gives_away and baseline.n >= LEAST and not prior else "look"
        chance = verdict == "look" and not (baseline.gives_away and baseline.n >= LEAST) and baseline.n < ENOUGH
        few = f"; fewer than {ENOUGH:,} questions, so it may be chance" if chance else ""
        means = "The questions can be answered without the picture: use create_mcq.style=balanced, and look at the paraphrases."
        if prior:
            means = "Some objects are nearly always there, or never: draw negatives with create_mcq.negative_draw=matched."
        return QualityFinding(
            id=f"mcq.blind.{baseline.name.replace(' ', '_')}",
            rule=f"A reader who never sees the picture gets no more than chance: {baseline.name}.",
            verdict=verdict,
            value=round(baseline.accuracy, 6),
            shown=f"{percent(baseline.accuracy)} right ({percent(baseline.low)} to {percent(baseline.high)}){few}",
            threshold="at most 28.0 %",
            n=baseline.n,
            means=means,
            examples=[each for shown in self._by_place.values() for each in shown[:1]] if verdict != "pass" else [],
        )

    def _copied(self) -> QualityFinding:
        shown: list[RowExample] = []
        for each in self._repeats.most(3):
            shown += [example(row, f"{each.times:,} times: {each.text}") for row in dict.fromkeys(each.rows)]
        return at_most(
            "mcq.copies",
            "No two questions are the same.",
            self._repeats.extra,
            self._repeats.total,
            look=0.05,
            fail=0.3,
            means="The same four sentences are asked of several pictures: few objects, or doubled rows.",
            examples=shown,
        )

    def _reworded(self) -> QualityFinding:
        new = sum(int(value) * count for value, count in self._new.most())
        kept = [row for row in self._sample.some(2_000) if row[self._texts[0]] == row.get("caption_0")]
        return at_least(
            "mcq.paraphrased",
            "Most options are in other words than the template's.",
            new,
            4 * self._new.total,
            look=0.8,
            fail=0.3,
            means="Paraphrases failed their checks and fell back to the template: a weak model, or a prompt that it does not "
            "follow.",
            examples=[example(row["row_id"], row[self._texts[0]], row["sub_id"]) for row in kept[:5]],
        )

    def sections(self) -> list[ReportSection]:
        if not self._count:
            return []
        places = dict(self._places.most())
        bars = [(LETTERS[index], float(places.get(str(index), 0))) for index in OPTIONS]
        cells = [(name, float(count)) for name, count in self._cells.most(12)]
        both = dict(self._both.most())
        crossed: list[list[str | float | int | None]] = [
            [name, *(both.get(f"{name} {index}", 0) for index in OPTIONS)] for name, _ in cells
        ]
        return [
            ReportSection(
                id="mcq",
                title="Multiple-choice questions",
                charts=[
                    bars_chart("mcq.places", "Place of the true option", "place", bars, "Bad: bars of unequal height."),
                    bars_chart("mcq.cells", "Kind of the true option", "kind", cells, "Bad: bars of unequal height."),
                ],
                tables=[
                    FigureTable(
                        id="mcq.crossed",
                        title="Kind by place",
                        columns=["kind", *LETTERS],
                        rows=crossed,
                        note="Bad: a kind that keeps to a place.",
                    )
                ],
            ),
            self._blind_section(),
        ]

    def _blind_section(self) -> ReportSection:
        found = self.baselines()
        chart = Chart(
            id="blind.right",
            title="Right answers without the picture",
            kind="bars",
            x_label="blind reader",
            y_label="share right",
            series=[
                ChartSeries(name="share right", x=[each.name for each in found], y=[round(each.accuracy, 4) for each in found])
            ],
            marks=[Mark(label="chance", at=CHANCE), Mark(label="too much", at=CHANCE + TOLERANCE)],
            note="Bad: a bar above the second line. Learning readers are trained on half of the questions and tested on the "
            "other.",
        )
        rows: list[list[str | float | int | None]] = [
            [each.name, round(each.accuracy, 4), round(each.low, 4), round(each.high, 4), each.n] for each in found
        ]
        columns = ["blind reader", "right", "95 % from", "to", "questions"]
        return ReportSection(
            id="blind",
            title="Blind baselines",
            text=f"On a seeded sample of at most {BLIND_QUESTIONS:,} questions." if self._count > BLIND_QUESTIONS else "",
            charts=[chart],
            tables=[FigureTable(id="blind.table", title="Blind readers", columns=columns, rows=rows)],
        )

    def facts(self) -> dict[str, str]:
        return {"questions": f"{self._count:,}"}


def _is_whole(row: Row, texts: list[str]) -> bool:
    truths = row["option_truths"]
    return isinstance(truths, list) and len(truths) == 4 and row["correct_answer"] in OPTIONS and all(row[name] for name in texts)


def _pattern(text: str, row: Row) -> str:
    names = Counter(name for truth in row["option_truths"] or [] for name in truth)
    return skeleton(text, names)
