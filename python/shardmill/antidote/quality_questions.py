"""Questions about images: CPQ and TPQ that cannot be told apart by their form, POPE's yes and no (section 4)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from shardmill.antidote.quality_sentences import SENTENCE_RULES
from shardmill.antidote.question_forms import question_problem
from shardmill.language.existence_questions import existence_question
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.frequency_tell import MIN_CAPTIONS, FrequencyTell
from shardmill.quality.judging import example
from shardmill.quality.measured_sections import CategoryBars, CrossTable, MeasuredSection
from shardmill.quality.model import QualityFinding, RowExample, Verdict
from shardmill.quality.one_sided import OneSidedNames
from shardmill.quality.parts import QualityPart, SampledRows
from shardmill.quality.rules import NEVER, QualityRule, Row, at_least, at_most, at_stage, field_of_items, items_of
from shardmill.quality.separable import LabelledText, separability
from shardmill.quality.text_patterns import skeleton
from shardmill.quality.texts import Texts
from shardmill.store.run_folder import RunFolder
from shardmill.util.words import percent, whole_percent

QUESTIONS, POPE = "judge_questions", "ask_pope"
SEPARABLE = 0.6
SEPARABILITY_ROWS = 15_000
VERIFIED = {"cpq": "verified_absent", "tpq": "verified_present"}
"""Kinds of presupposition questions, and the list that the object of such a question must be on."""
KINDS = {kind: kind.upper() for kind in VERIFIED}


def _of_passing(field: str) -> pl.Expr:
    """A field of the questions that are used, as a list; null for the others."""
    item = pl.element().struct
    return items_of("questions", field, "verdict").list.eval(pl.when(item.field("verdict") == "pass").then(item.field(field)))


def passing(row: Row) -> list[Row]:
    """The questions of a row that are used."""
    return [each for each in row["questions"] or [] if each["verdict"] == "pass" and each["question"]]


def misplaced_questions(row: Row) -> Iterator[str | None]:
    """For each used question, whether its object is on the list that it must be on."""
    for each in passing(row):
        is_right = each["object"] in (row[VERIFIED[each["kind"]]] or [])
        yield None if is_right else f"{KINDS[each['kind']]} about {each['object']}: {each['question']}"


def malformed_questions(row: Row) -> Iterator[str | None]:
    """For each used question, why it does not presuppose its object."""
    for each in passing(row):
        problem = question_problem(each["question"], each["object"], row["verified_absent"] or [])
        yield problem and f"{problem}: {each['question']}"


def ungrammatical_pope(row: Row) -> Iterator[str | None]:
    """For each POPE question, whether its "is there" or "are there" agrees with the object."""
    for each in row["pope"] or []:
        expected = existence_question(each["object"]).split()[:1]
        yield None if str(each["question"]).split()[:1] == expected else each["question"]


_ITEM = pl.element().struct
_JUDGED_TEXTS = items_of("questions", "verdict", "question").list.eval(
    pl.format("{}: {}", _ITEM.field("verdict"), _ITEM.field("question").fill_null("(no question)"))
)

QUESTION_RULES = at_stage(
    QUESTIONS,
    QualityRule(
        "questions.facts",
        "A CPQ is about an object that the detector did not find, a TPQ about one that it found.",
        NEVER,
        ("questions", *VERIFIED.values()),
        misplaced_questions,
        fault="Some questions take for granted what the detector did not find, or deny what it found.",
        advice="The question takes for granted what is not so, or the other way round: the preferred answer is wrong.",
    ),
    QualityRule(
        "questions.form",
        "Questions presuppose their object, and do not ask for it, count it, or name another.",
        NEVER,
        ("questions", *VERIFIED.values()),
        malformed_questions,
        fault="Some questions ask whether the object is there, count it, or name another object.",
        advice="A question that asks whether something is there tests nothing that POPE does not.",
    ),
    QualityRule(
        "questions.judged",
        "Most questions are judged good.",
        at_least(0.7, 0.3),
        ("questions",),
        field_of_items("questions", "verdict").list.eval(pl.element() == "pass"),
        example=_JUDGED_TEXTS.list.join("; "),
        fault="Many questions are judged bad.",
        advice="The model that writes the questions does not keep the rules: use another model, or check the prompt with "
        "shardmill preview.",
    ),
    QualityRule(
        "questions.kinds",
        "There are about as many CPQs as TPQs.",
        at_most(0.6, 0.75),
        ("questions",),
        _of_passing("kind").list.drop_nulls(),
        counts="commonest",
        example=field_of_items("questions", "question").list.drop_nulls().list.join("; "),
        fault="There are far more questions of one kind (CPQ or TPQ) than of the other.",
        advice="A model that always declines (or never does) gets most of them right.",
    ),
    *SENTENCE_RULES,
)


def pope_rules(run: RunFolder) -> list[QualityRule]:
    """The rules on POPE questions."""
    options = run.stage(POPE).options if POPE in run.stages else {}
    only_present = options.get("absent", "none") == "none"
    by_design = " Only present objects are asked about, as in the original." if only_present else ""
    return at_stage(
        POPE,
        QualityRule(
            "pope.balance",
            "POPE's answers are yes and no about equally often.",
            at_most(0.6) if only_present else at_most(0.6, 0.75),
            ("pope",),
            field_of_items("pope", "answer"),
            counts="commonest",
            example=field_of_items("pope", "question").list.join(" "),
            fault="One of the answers yes and no is far more frequent than the other.",
            advice=f"A model that always gives the commoner answer gets most of them right.{by_design} Ask about absent objects "
            "too: ask_pope.absent=random, popular or adversarial.",
        ),
        QualityRule(
            "pope.grammar",
            "“Is there” and “are there” agree with their object.",
            NEVER,
            ("pope",),
            ungrammatical_pope,
            fault="Some questions say “is there” of several things, or “are there” of one.",
            advice="A wrong number makes the question odd, and may give its answer away.",
        ),
    )


def questions_section(finished: FinishedShards) -> MeasuredSection:
    """The section on presupposition questions."""
    kind = _of_passing("kind")
    return MeasuredSection(
        finished,
        QUESTIONS,
        "questions",
        "Presupposition questions",
        [
            CategoryBars("questions.kinds", "Kinds", "kind", kind, "Bad: bars of unequal height.", KINDS),
            CategoryBars(
                "questions.verdicts",
                "Verdicts",
                "verdict",
                field_of_items("questions", "verdict"),
                "Bad: many that do not pass.",
            ),
            CrossTable(
                "questions.forms",
                "Forms by kind",
                "form",
                _of_passing("form"),
                kind,
                KINDS,
                "Bad: a form of only one kind.",
            ),
        ],
        {label: kind.list.eval(pl.element() == name).list.sum() for name, label in KINDS.items()},
    )


def pope_section(finished: FinishedShards) -> MeasuredSection:
    """The section on POPE questions."""
    draw, answer = field_of_items("pope", "draw"), field_of_items("pope", "answer")
    table = CrossTable("pope.draws", "By how objects were drawn", "draw", draw, answer, {"yes": "yes", "no": "no"})
    return MeasuredSection(finished, POPE, "pope", "POPE questions", [table], {"POPE questions": draw.list.len()})


def question_tells(finished: FinishedShards, seed: int) -> list[QualityPart]:
    """Whether the names of objects tell CPQs from TPQs."""
    item = pl.element().struct
    sides = [
        items_of("questions", "kind", "verdict", "object").list.eval(
            pl.when((item.field("kind") == kind) & (item.field("verdict") == "pass")).then(item.field("object"))
        )
        for kind in ("tpq", "cpq")
    ]
    return _tells(finished, QUESTIONS, "questions", "presupposition questions", sides, seed)


def pope_tells(finished: FinishedShards, seed: int) -> list[QualityPart]:
    """Whether the names of objects tell the answers of POPE questions, if absent objects are asked about at all."""
    if finished.run.stage(POPE).options.get("absent", "none") == "none":
        return []
    item = pl.element().struct
    sides = [
        items_of("pope", "answer", "object").list.eval(pl.when(item.field("answer") == answer).then(item.field("object")))
        for answer in ("yes", "no")
    ]
    return _tells(finished, POPE, "pope", "POPE questions", sides, seed)


def _tells(finished: FinishedShards, stage: str, id: str, plural: str, sides: list[pl.Expr], seed: int) -> list[QualityPart]:
    return [
        FrequencyTell(finished, stage, id, plural, sides[0], sides[1], "present", seed),
        OneSidedNames(finished, stage, id, plural, sides[0], sides[1], MIN_CAPTIONS),
    ]


def presupposition_texts(finished: FinishedShards, kind: str, seed: int) -> Texts:
    """The used questions of a kind as texts."""
    item = pl.element().struct
    is_own = (item.field("kind") == kind) & (item.field("verdict") == "pass")

    def of_own(field: str) -> pl.Expr:
        return items_of("questions", "kind", "verdict", field).list.eval(pl.when(is_own).then(item.field(field)))

    return Texts(
        finished,
        QUESTIONS,
        kind,
        f"{KINDS[kind]}s",
        seed,
        of_own("question"),
        keep={"object": of_own("object")},
        pattern=lambda text, row: skeleton(text, [row["object"]]),
        copies=None,
        commonest=at_most(0.03, 0.1),
    )


class Separability(SampledRows):
    """Whether CPQs and TPQs can be told apart by their words."""

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, QUESTIONS, ("questions",), SEPARABILITY_ROWS, seed, "presuppositions")

    def findings(self) -> list[QualityFinding]:
        texts = [
            LabelledText(each["question"], each["kind"] == "cpq", (each["object"],), row["row_id"])
            for row in self.rows
            for each in passing(row)
        ]
        right = separability(texts)
        if not right.n:
            return []
        verdict: Verdict = "pass"
        if right.value > SEPARABLE:
            verdict = "fail" if right.low > SEPARABLE else "look"
        return [
            QualityFinding(
                id="questions.separable",
                rule="CPQs and TPQs cannot be told apart by their words, objects hidden.",
                verdict=verdict,
                value=round(right.value, 6),
                shown=f"{percent(right.value)} right ({percent(right.low)} to {percent(right.high)})",
                threshold=f"at most {whole_percent(SEPARABLE)}",
                n=right.n,
                fault="The words of a question tell whether it is a CPQ or a TPQ.",
                means="A model learns to decline by the form of a question instead of looking. Draw one form for both of a pair.",
                examples=[*_examples(texts, True), *_examples(texts, False)],
            )
        ]


def _examples(texts: list[LabelledText], is_cpq: bool) -> list[RowExample]:
    own = [each for each in texts if each.positive is is_cpq][:2]
    return [example(each.row_id, f"{'CPQ' if is_cpq else 'TPQ'}: {each.text}") for each in own]
