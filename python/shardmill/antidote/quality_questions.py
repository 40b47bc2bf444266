"""Questions about pictures: CPQ and TPQ that cannot be told apart by their form, POPE's yes and no, descriptions (section 4)."""

from __future__ import annotations

from collections import Counter

import polars as pl

from shardmill.antidote.question_forms import question_problem
from shardmill.language.existence_questions import existence_question
from shardmill.quality.figures import skeleton
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_least, at_most, example, never, percent
from shardmill.quality.measures import ValueTally, bars_chart
from shardmill.quality.model import FigureTable, QualityFinding, ReportSection, RowExample, Verdict
from shardmill.quality.objects_and_texts import Texts, balance
from shardmill.quality.parts import CHECKED_ROWS, ColumnReading, QualityPart, Row, Rows
from shardmill.quality.separable import Labelled, separability

ASKED = pl.List(
    pl.Struct({"kind": pl.String, "object": pl.String, "question": pl.String, "form": pl.String, "verdict": pl.String})
)
POPE = pl.List(pl.Struct({"object": pl.String, "question": pl.String, "answer": pl.String, "draw": pl.String}))
SEPARABLE = 0.6
TOLD_APART_ROWS = 15_000
KINDS = {"cpq": "absent", "tpq": "present"}


class Presuppositions(QualityPart):
    """CPQ and TPQ of all pictures: what became of them, and on a sample whether they are what they must be."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        columns = ("questions", "verified_present", "verified_absent")
        self._sample = Rows(standing, "judge_questions", columns, TOLD_APART_ROWS, seed, "presuppositions")
        self._verdicts, self._kinds, self._forms = ValueTally(), ValueTally(), ValueTally()
        self.texts = [self._texts(standing, kind, seed) for kind in KINDS]

    @staticmethod
    def _texts(standing: FinishedShards, kind: str, seed: int) -> Texts:
        def explode(frame: pl.DataFrame) -> pl.DataFrame:
            asked = asked_in(frame).filter((pl.col("kind") == kind) & (pl.col("verdict") == "pass"))
            return asked.select("row_id", "object", text="question")

        return Texts(
            standing, "judge_questions", ("questions", "object"), explode, kind, f"{kind.upper()}s", seed,
            pattern=lambda text, row: skeleton(text, [row["object"]]), copies=None, commonest=(0.03, 0.1), dominance=(0.2, 0.5),
        )  # fmt: skip

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading("judge_questions", ("questions",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        asked = asked_in(frame)
        self._verdicts.look(asked["verdict"])
        good = asked.filter(pl.col("verdict") == "pass")
        self._kinds.look(good["kind"])
        self._forms.look(good["form"] + " " + good["kind"])

    def findings(self) -> list[QualityFinding]:
        if not self._verdicts.total:
            return []
        return [*self._sound(), self._separable(), self._judged(), self._balance()]

    def _sound(self) -> list[QualityFinding]:
        misplaced: list[RowExample] = []
        unfit: list[RowExample] = []
        checked = 0
        wrong = Counter[str]()
        for row in self._sample.some(CHECKED_ROWS):
            for each in passed(row):
                checked += 1
                if each["object"] not in (row[f"verified_{KINDS[each['kind']]}"] or []):
                    wrong["misplaced"] += 1
                    misplaced.append(example(row["row_id"], f"{each['kind'].upper()} about {each['object']}: {each['question']}"))
                problem = question_problem(each["question"], each["object"], row["verified_absent"] or [])
                if problem is not None:
                    wrong["unfit"] += 1
                    unfit.append(example(row["row_id"], f"{problem}: {each['question']}"))
        return [
            never(
                "questions.facts",
                "A CPQ is about an object that the detector did not find, a TPQ about one that it found.",
                wrong["misplaced"],
                checked,
                means="The question takes for granted what is not so, or the other way round: the preferred answer is wrong.",
                examples=misplaced,
            ),
            never(
                "questions.form",
                "Questions presuppose their object, and do not ask for it, count it, or name another.",
                wrong["unfit"],
                checked,
                means="A question whether something is there tests nothing that POPE does not.",
                examples=unfit,
            ),
        ]

    def _separable(self) -> QualityFinding:
        texts = [
            Labelled(each["question"], each["kind"] == "cpq", (each["object"],), row["row_id"])
            for row in self._sample.rows
            for each in passed(row)
        ]
        found = separability(texts)
        verdict: Verdict = "pass"
        if found.accuracy > SEPARABLE or not found.n:
            verdict = "fail" if found.low > SEPARABLE else "look"
        shown: list[RowExample] = []
        for kind in (True, False):
            own = [each for each in texts if each.positive is kind][:3]
            shown += [example(each.row_id, f"{'CPQ' if kind else 'TPQ'}: {each.text}") for each in own]
        return QualityFinding(
            id="questions.separable",
            rule="CPQ and TPQ cannot be told apart by their words, objects hidden.",
            verdict=verdict,
            value=round(found.accuracy, 6),
            shown=f"{percent(found.accuracy)} right ({percent(found.low)} to {percent(found.high)})"
            if found.n
            else "nothing yet",
            threshold=f"at most {percent(SEPARABLE)}",
            n=found.n,
            means="A model learns to decline by the form of a question instead of looking. Draw one form for both of a pair.",
            examples=shown if verdict != "pass" else [],
        )

    def _judged(self) -> QualityFinding:
        counts = dict(self._verdicts.most())
        told = ", ".join(f"{name} {count:,}" for name, count in self._verdicts.most(5) if name != "pass")
        bad = [
            example(row["row_id"], f"{each['verdict']}: {each['question']}")
            for row in self._sample.some(2_000)
            for each in row["questions"] or []
            if each["verdict"] != "pass"
        ]
        return at_least(
            "questions.judged",
            "Most questions are judged good.",
            counts.get("pass", 0),
            self._verdicts.total,
            look=0.7,
            fail=0.3,
            told=told,
            means="The model that asks does not keep the rules: another model, or look at the prompt with shardmill preview.",
            examples=bad,
        )

    def _balance(self) -> QualityFinding:
        shown: dict[str, list[RowExample]] = {}
        for row in self._sample.some(200):
            for each in passed(row):
                shown.setdefault(each["kind"], []).append(example(row["row_id"], each["question"]))
        return balance(
            "questions.kinds",
            "There are about as many CPQs as TPQs.",
            self._kinds.most(),
            look=0.6,
            fail=0.75,
            means="A model that always declines (or never does) gets most of them right.",
            examples=shown,
        )

    def sections(self) -> list[ReportSection]:
        if not self._verdicts.total:
            return []
        forms: dict[str, dict[str, int]] = {}
        for both, count in self._forms.most(200):
            form, _, kind = both.rpartition(" ")
            forms.setdefault(form, {})[kind] = count
        rows: list[list[str | float | int | None]] = [
            [form, *(each.get(kind, 0) for kind in KINDS)] for form, each in forms.items()
        ]
        kinds = [(name.upper(), float(count)) for name, count in self._kinds.most()]
        verdicts = [(name, float(count)) for name, count in self._verdicts.most(12)]
        return [
            ReportSection(
                id="questions",
                title="Presupposition questions",
                charts=[
                    bars_chart("questions.kinds", "Kinds", "kind", kinds, "Bad: bars of unequal height."),
                    bars_chart("questions.verdicts", "Verdicts", "verdict", verdicts, "Bad: much that does not pass."),
                ],
                tables=[
                    FigureTable(
                        id="questions.forms",
                        title="Forms by kind",
                        columns=["form", *(kind.upper() for kind in KINDS)],
                        rows=rows,
                        note="Bad: a form that only one kind has.",
                    )
                ],
            )
        ]

    def facts(self) -> dict[str, str]:
        return {kind.upper(): f"{count:,}" for kind, count in sorted(self._kinds.most())}


def asked_in(frame: pl.DataFrame) -> pl.DataFrame:
    """A line for each question of a batch: row_id, kind, object, question, form, verdict."""
    asked = frame.select("row_id", each=pl.col("questions").str.json_decode(ASKED)).explode("each").drop_nulls("each")
    return asked.unnest("each")


def passed(row: Row) -> list[Row]:
    """The questions of a row that are used."""
    return [each for each in row["questions"] or [] if each["verdict"] == "pass" and each["question"]]


class Pope(QualityPart):
    """Questions whether something is there: the balance of yes and no, by how objects were drawn, and their grammar."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._absent = standing.run.stage("ask_pope").options.get("absent", "none")
        self._sample = Rows(standing, "ask_pope", ("pope",), CHECKED_ROWS, seed, "pope")
        self._answers = ValueTally()

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading("ask_pope", ("pope",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        asked = frame.select(each=pl.col("pope").str.json_decode(POPE)).explode("each").drop_nulls().unnest("each")
        self._answers.look(asked["draw"] + " " + asked["answer"])

    def findings(self) -> list[QualityFinding]:
        total = self._answers.total
        if not total:
            return []
        yes = sum(count for name, count in self._answers.most() if name.endswith(" yes"))
        questions = [(row["row_id"], each) for row in self._sample.rows for each in row["pope"] or []]
        most = "yes" if yes >= total - yes else "no"
        shown = [example(row_id, f"{each['question']} {each['answer']}") for row_id, each in questions if each["answer"] == most]
        wrong = [(row_id, each["question"]) for row_id, each in questions if not _agrees(each)]
        by_design = " Only present objects are asked about, as the original has it." if self._absent == "none" else ""
        return [
            at_most(
                "pope.balance",
                "POPE's answers are yes and no about equally often.",
                max(yes, total - yes),
                total,
                look=0.6,
                fail=1.0 if self._absent == "none" else 0.75,
                told=f"{most}",
                means=f"A model that always says “{most}” gets most of them right.{by_design} Ask about absent objects too: "
                "ask_pope.absent=random, popular or adversarial.",
                examples=shown,
            ),
            never(
                "pope.grammar",
                "“Is there” and “are there” agree with their object.",
                len(wrong),
                len(questions),
                means="Wrong number makes the question odd, and may tell of its answer.",
                examples=[example(row_id, text) for row_id, text in wrong[:5]],
            ),
        ]

    def sections(self) -> list[ReportSection]:
        if not self._answers.total:
            return []
        counts = dict(self._answers.most())
        draws = sorted({name.rpartition(" ")[0] for name in counts})
        rows: list[list[str | float | int | None]] = []
        for draw in draws:
            yes, no = counts.get(f"{draw} yes", 0), counts.get(f"{draw} no", 0)
            rows.append([draw, yes, no, round(yes / (yes + no), 4)])
        table = FigureTable(
            id="pope.draws", title="By how objects were drawn", columns=["draw", "yes", "no", "share of yes"], rows=rows
        )
        return [ReportSection(id="pope", title="POPE questions", tables=[table])]

    def facts(self) -> dict[str, str]:
        return {"POPE questions": f"{self._answers.total:,}"}


def _agrees(asked: Row) -> bool:
    return str(asked["question"]).split()[:1] == existence_question(asked["object"]).split()[:1]


class Descriptions(Texts):
    """Requests for a description, which are to be worded in several ways."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        def explode(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.select("row_id", text=pl.col("description").str.json_path_match("$.question"))

        super().__init__(
            standing, "ask_descriptions", ("description",), explode, "desc", "description requests", seed,
            pattern=lambda text, row: text, copies=None, dominance=(0.2, 0.5),
        )  # fmt: skip
