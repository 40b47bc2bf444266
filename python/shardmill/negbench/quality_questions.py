"""Multiple-choice questions: exactly one true option, and no way to tell which without the image (section 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

import polars as pl

from shardmill.language.polarity import check_polarity
from shardmill.negbench.blind import CHANCE, KNOW_OBJECTS, TOLERANCE, Baseline, blind_baselines
from shardmill.negbench.blind_knowledge import BlindQuestion, half_of
from shardmill.negbench.mcq_forms import plain
from shardmill.negbench.quality_sentences import option_sentence_rules
from shardmill.pages.charts import Chart, ChartSeries, FigureTable, Mark, TableRow
from shardmill.quality.caption_knowledge import CaptionKnowledge, sampled_captions
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import TOO_FEW, example
from shardmill.quality.measured_sections import CategoryBars, CrossTable, MeasuredSection
from shardmill.quality.measures import ValueTally
from shardmill.quality.model import QualityFinding, ReportSection, Verdict
from shardmill.quality.one_sided import OneSidedNames
from shardmill.quality.parts import ColumnReading, QualityPart, SampledRows
from shardmill.quality.rules import NEVER, QualityRule, Row, at_least, at_most, at_stage
from shardmill.quality.significance import uniform_p
from shardmill.quality.text_patterns import skeleton
from shardmill.quality.texts import Texts
from shardmill.util.words import count_of, percent, whole_percent

OPTIONS = range(4)
LETTERS = "ABCD"
POSITIONS = {str(index): letter for index, letter in enumerate(LETTERS)}
BLIND_QUESTIONS = 20_000
"""Questions that blind readers try: enough for half a point, few enough to keep in memory."""
ENOUGH, MIN_QUESTIONS = 2_000, 100
"""Questions that settle what a blind reader can do, and so few that nothing is said of it."""
MAX_BLIND, MAX_POSITION, MIN_P = 0.28, 0.32, 0.001


def _options(finished: FinishedShards) -> tuple[str, list[str]]:
    """The last stage that has questions, and its columns with the four options."""
    if finished.has("paraphrase_mcq"):
        return "paraphrase_mcq", [f"paraphrase_{index}" for index in OPTIONS]
    return "create_mcq", [f"caption_{index}" for index in OPTIONS]


class QuestionQuality(QualityPart):
    """The questions of the last stage that has them: the paraphrased ones, or those of the template."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        self._stage, self._columns = _options(finished)
        columns = (*self._columns, "option_truths", "correct_answer")
        columns += ("image",) if finished.has(self._stage, "image") else ()
        self._sample = SampledRows(finished, self._stage, columns, BLIND_QUESTIONS, seed, "questions")
        self._captions = sampled_captions(finished, "objects", seed)
        self._positions = ValueTally()
        style = finished.run.stage("create_mcq").options.get("style", "balanced")
        self.rules = question_rules(self._stage, self._columns, style)
        self.texts = _true_options(finished, self._stage, self._columns, seed)
        self.parts: list[QualityPart] = [_section(finished, self._stage), self.texts, _sides(finished, self._stage)]

    def readings(self) -> list[ColumnReading]:
        known = self._captions.readings() if self._captions else []
        return [*self._sample.readings(), *known, ColumnReading(self._stage, ("correct_answer",), self._add_batch)]

    def _add_batch(self, frame: pl.DataFrame) -> None:
        self._positions.add_values(frame["correct_answer"])

    @cached_property
    def baselines(self) -> list[Baseline]:
        """Blind readers on a sample of the questions."""
        rows = [row for row in self._sample.rows if is_whole(row, self._columns)]
        captions = [row["objects"] or [] for row in self._captions.rows] if self._captions else []
        known = CaptionKnowledge(captions) if captions else None
        return blind_baselines([_blind_question(row, self._columns) for row in rows], known) if rows else []

    def findings(self) -> list[QualityFinding]:
        if not self._positions.total:
            return []
        few = self._positions.total < MIN_QUESTIONS
        return [self._position(), *([self._too_few()] if few else map(self._blind, self.baselines))]

    def _too_few(self) -> QualityFinding:
        """That nothing can be said of blind readers yet."""
        return QualityFinding(
            id="mcq.blind",
            rule="Readers who never see the image do no better than chance.",
            verdict="look",
            value=None,
            shown=f"{count_of(self._positions.total, 'question')}, and {MIN_QUESTIONS:,} are needed",
            threshold=f"at most {whole_percent(MAX_BLIND)}",
            n=self._positions.total,
            fault=f"{TOO_FEW}Readers who never see the image may find the answers.",
            means="Whether words give the answers away shows only in more questions: make them of more captions.",
        )

    def _position(self) -> QualityFinding:
        total, tally = self._positions.total, dict(self._positions.most_common())
        counts = [tally.get(position, 0) for position in POSITIONS]
        worst = max(OPTIONS, key=lambda index: counts[index])
        share, p = counts[worst] / total, uniform_p(counts)
        verdict: Verdict = "pass"
        if p < MIN_P:
            verdict = "fail" if share > MAX_POSITION else "look"
        shares = ", ".join(f"{letter} {percent(count / total)}" for letter, count in zip(LETTERS, counts, strict=True))
        rows = [row for row in self._sample.rows if row["correct_answer"] == worst][:3]
        return QualityFinding(
            id="mcq.position",
            rule="The true option is equally often in each position.",
            verdict=verdict,
            value=round(share, 6),
            shown=f"{shares} (chi-square test: p = {p:.2g})",
            threshold=f"p at least {MIN_P:g}; fails below it with a position above {whole_percent(MAX_POSITION)}",
            n=total,
            fault="The true option is in one position more often than in the others.",
            means="A reader who always picks one letter scores above chance. Shuffle the options of each row.",
            examples=[example(row["row_id"], self._true_option(row), row["sub_id"]) for row in rows],
        )

    def _blind(self, baseline: Baseline) -> QualityFinding:
        """The verdict on a blind reader: one that is surely too good fails; one that seems so is not cleared by few questions."""
        right = baseline.right
        verdict: Verdict = "pass"
        if right.value > MAX_BLIND:
            verdict = "fail" if right.low > MAX_BLIND else "look"
        doubt = f"; fewer than {ENOUGH:,} questions, so it may be chance" if verdict == "look" and right.n < ENOUGH else ""
        advice = "The questions can be answered without the image. Use create_mcq.style=balanced, and look at the paraphrases."
        if baseline.name in KNOW_OBJECTS:
            advice = "Objects give the answer away. Use create_mcq.style=balanced with draw_questions.draw=pairs and balance=1."
        return QualityFinding(
            id=f"mcq.blind.{baseline.name.replace(' ', '_')}",
            rule=f"A reader who never sees the image does no better than chance: {baseline.name}.",
            verdict=verdict,
            value=round(right.value, 6),
            shown=f"{percent(right.value)} right ({percent(right.low)} to {percent(right.high)}){doubt}",
            threshold=f"at most {whole_percent(MAX_BLIND)}",
            n=right.n,
            fault=f"A reader who never sees the image finds too many answers: {baseline.name}.",
            means=advice,
            examples=[example(row["row_id"], self._true_option(row), row["sub_id"]) for row in self._sample.rows[:4]],
        )

    def _true_option(self, row: Row) -> str:
        index = row["correct_answer"]
        return f"{LETTERS[index]}: {row[self._columns[index]]}" if index in OPTIONS else "no option is true"

    def sections(self) -> list[ReportSection]:
        found = self.baselines
        if not found:
            return []
        names, shares = [each.name for each in found], [round(each.right.value, 4) for each in found]
        chart = Chart(
            id="blind.right",
            title="Right answers without the image",
            kind="bars",
            x_label="blind reader",
            y_label="share right",
            shares=True,
            series=[ChartSeries(name="share right", x=names, y=shares)],
            marks=[Mark(label="chance", at=CHANCE), Mark(label="too much", at=CHANCE + TOLERANCE)],
            note="Bad: a bar above the second line. Readers that learn are trained on one half of the questions and tested on "
            "the other.",
        )
        rows: list[TableRow] = [
            [each.name, round(each.right.value, 4), round(each.right.low, 4), round(each.right.high, 4), each.right.n]
            for each in found
        ]
        columns = ["blind reader", "right", "95 % from", "to", "questions"]
        table = FigureTable(id="blind.table", title="Blind readers", columns=columns, rows=rows, shares=columns[1:4])
        text = f"On a seeded sample of {BLIND_QUESTIONS:,} questions." if self._positions.total > BLIND_QUESTIONS else ""
        return [ReportSection(id="blind", title="Blind baselines", text=text, charts=[chart], tables=[table])]


def question_rules(stage: str, columns: list[str], style: str) -> list[QualityRule]:
    """The rules on the questions of a stage, whose options are in four `columns`; `style` is that of create_mcq."""

    def untrue(row: Row) -> Iterator[str | None]:
        if is_whole(row, columns):
            yield _answer_problem(row, columns)

    def misworded(row: Row) -> Iterator[str | None]:
        for name, claims in zip(columns, row["option_truths"], strict=True) if is_whole(row, columns) else ():
            problem = check_polarity(row[name], claims)
            yield problem and f"{problem}: {row[name]}"

    texts = pl.concat_str(columns, separator=" | ")
    whole = (*columns, "option_truths", "correct_answer")
    sentences = option_sentence_rules(stage, columns)
    return sentences + at_stage(
        stage,
        QualityRule(
            "mcq.one_true",
            "Exactly one option is true, and no two are equal.",
            NEVER,
            (*whole, "mcq_objects"),
            untrue,
            fault="Some questions have no true option, several, or two equal options.",
            advice="There are questions without a right answer, or with two. Run create_mcq again.",
        ),
        QualityRule(
            "mcq.polarity",
            "The words of every option affirm and deny what it is taken to claim.",
            NEVER,
            whole,
            misworded,
            fault="Some options say something else than they are taken to claim.",
            advice="A paraphrase reversed a claim: the marked option is not the true one.",
        ),
        QualityRule(
            "mcq.cells",
            "Each kind of option is true about equally often.",
            at_most(0.3, 0.35) if style == "balanced" else at_most(0.5, 0.7),
            (*columns, "correct_answer_template"),
            pl.col("correct_answer_template"),
            counts="commonest",
            example=texts,
            fault="One kind of option is true more often than the others.",
            advice="One kind of statement is true more often, so its wording alone scores points.",
        ),
        QualityRule(
            "mcq.copies",
            "No two questions are the same.",
            at_most(0.05, 0.3),
            tuple(columns),
            texts,
            counts="copies",
            fault="Questions are repeated.",
            advice="The same four sentences are asked about several images: there are few objects, or duplicate rows.",
        ),
        QualityRule(
            "mcq.paraphrased",
            "Most options are in other words than the template's.",
            at_least(0.8, 0.3),
            (*columns, "paraphrased"),
            pl.col("paraphrased").str.json_decode(pl.List(pl.Boolean)),
            stage="paraphrase_mcq",
            example=texts,
            fault="Many options still have the wording of the template.",
            advice="Paraphrases failed their checks and fell back to the template: the model is weak or ignores the prompt.",
        ),
    )


def _answer_problem(row: Row, columns: list[str]) -> str | None:
    """Why a question does not have exactly one true option; None if it has."""
    if len({plain(row[name]) for name in columns}) < len(columns):
        return "two options are alike"
    present = {each["name"]: each["present"] for each in row["mcq_objects"] or []}
    true = [
        index
        for index, claims in enumerate(row["option_truths"])
        if all(present.get(name) == claimed for name, claimed in claims.items())
    ]
    return None if true == [row["correct_answer"]] else f"true are {[LETTERS[index] for index in true]}"


def is_whole(row: Row, columns: list[str]) -> bool:
    """Whether a line has four options, what each claims, and an answer."""
    truths = row["option_truths"]
    has_truths = isinstance(truths, list) and len(truths) == len(columns)
    return has_truths and row["correct_answer"] in OPTIONS and all(row[name] for name in columns)


def _blind_question(row: Row, columns: list[str]) -> BlindQuestion:
    texts = tuple(row[name] for name in columns)
    return BlindQuestion(texts, tuple(row["option_truths"]), row["correct_answer"], half_of(row.get("image") or row["row_id"]))


def _sides(finished: FinishedShards, stage: str) -> OneSidedNames:
    """Names that the questions have only where they are there, or only where they are not."""
    objects = pl.col("mcq_objects").str.json_decode(pl.List(pl.Struct({"name": pl.String, "present": pl.Boolean})))
    item = pl.element().struct

    def named(present: bool) -> pl.Expr:
        return objects.list.eval(pl.when(item.field("present") == present).then(item.field("name")))

    return OneSidedNames(finished, stage, "mcq", "questions", named(True), named(False))


def _section(finished: FinishedShards, stage: str) -> MeasuredSection:
    cell, position = pl.col("correct_answer_template"), pl.col("correct_answer").cast(pl.String)
    return MeasuredSection(
        finished,
        stage,
        "mcq",
        "Multiple-choice questions",
        [
            CategoryBars(
                "mcq.places",
                "Position of the true option",
                "position",
                position,
                "Bad: bars of unequal height.",
                POSITIONS,
            ),
            CategoryBars("mcq.cells", "Kind of the true option", "kind", cell, "Bad: bars of unequal height."),
            CrossTable("mcq.crossed", "Kind by position", "kind", cell, position, POSITIONS, "Bad: a kind with one position."),
        ],
        facts={"questions": pl.col("correct_answer").is_not_null()},
    )


def _true_options(finished: FinishedShards, stage: str, columns: list[str], seed: int) -> Texts:
    """The true options as texts."""
    text = pl.coalesce([pl.when(pl.col("correct_answer") == index).then(name) for index, name in enumerate(columns)])
    keep, limits = {"option_truths": pl.col("option_truths")}, at_most(0.3, 0.6)
    names = "mcq.right", "true options"
    return Texts(finished, stage, *names, seed, text, keep=keep, pattern=_option_pattern, copies=None, one_pattern=limits)


def _option_pattern(text: str, row: Row) -> str:
    return skeleton(text, Counter(name for truth in row["option_truths"] or [] for name in truth))
