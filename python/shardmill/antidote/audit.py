"""What Antidote's rows state: verified objects, questions that presuppose them, answers, and which of two answers is better."""

from __future__ import annotations

import polars as pl

from shardmill.audit.statements import (
    AuditOutput,
    AuditRow,
    Row,
    Statement,
    object_absent,
    object_boxes,
    object_present,
    text_views,
)
from shardmill.language.nouns import with_article
from shardmill.pages.cards import BoxView, TextView
from shardmill.store.image_columns import GENERATED_IMAGE
from shardmill.store.run_folder import RunFolder


def audit_outputs(run: RunFolder) -> list[AuditOutput]:
    """The verified objects, the questions that passed, the existence questions, and the preference pairs."""
    judged = pl.when(pl.col("questions").str.contains('"verdict":"pass"', literal=True)).then(pl.lit("questions"))
    asked = pl.when(pl.col("pope") != "[]").then(pl.lit("existence"))
    return [
        AuditOutput("facts", "check_facts", GENERATED_IMAGE, pl.lit("lists"), show_facts),
        AuditOutput("questions", "judge_questions", GENERATED_IMAGE, judged, show_questions),
        AuditOutput("existence", "ask_pope", GENERATED_IMAGE, asked, show_existence),
        AuditOutput("preferences", "pair_preferences", GENERATED_IMAGE, pl.col("query_kind"), show_pair),
    ]


def show_facts(row: Row) -> AuditRow:
    """One statement for each object that is there, and for each that is not."""
    statements = [*map(object_present, row["verified_present"]), *map(object_absent, row["verified_absent"])]
    return AuditRow(statements, text_views({"caption": row["scene_caption"]}), _boxes(row))


def show_questions(row: Row) -> AuditRow:
    """For each question that passed: that it presupposes its object, and whether the object is there."""
    passed = [each for each in row["questions"] if each["verdict"] == "pass"]
    statements = []
    for each in passed:
        presupposes = (
            f"“{each['question']}” takes for granted that {with_article(each['object'])} is there, without asking whether."
        )
        presence = object_absent(each["object"]) if each["kind"] == "cpq" else object_present(each["object"])
        statements += [
            Statement(f"{each['kind']} presupposes", presupposes),
            Statement(f"{each['kind']} {presence.kind}", presence.text),
        ]
    texts = [TextView(label=f"{each['kind']} about {each['object']}", text=each["question"]) for each in passed]
    return AuditRow(statements, texts, _boxes(row))


def show_existence(row: Row) -> AuditRow:
    """One statement for each existence question: that its answer is right."""
    statements = [Statement("existence answer", f"{each['question']} {each['answer'].capitalize()}.") for each in row["pope"]]
    return AuditRow(statements, [], _boxes(row))


def show_pair(row: Row) -> AuditRow:
    """That the preferred answer is right, and that the rejected one is worse."""
    statements = [
        Statement("preferred answer", f"{row['query']} This is a right answer: {row['response']}"),
        Statement("rejected answer", f"{row['query']} This is a worse one: {row['rejected_response']}"),
    ]
    texts = {"question": row["query"], "preferred": row["response"], "rejected": row["rejected_response"]}
    return AuditRow(statements, text_views(texts), _boxes(row))


def _boxes(row: Row) -> list[BoxView]:
    return object_boxes(row, row["verified_present"], row["verified_absent"])
