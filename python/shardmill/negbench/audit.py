"""What NegBench's rows state: which objects are there, that negated captions are true, and which option of a question is."""

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
from shardmill.pages.cards import BoxView
from shardmill.store.run_folder import RunFolder

LETTERS = "ABCD"


def audit_outputs(run: RunFolder) -> list[AuditOutput]:
    """The verified objects, the negated captions and the questions, in their last wording that the run has."""
    paraphrased = "paraphrase_mcq" in run.stages
    options = "paraphrase" if paraphrased else "caption"
    questions = "paraphrase_mcq" if paraphrased else "create_mcq"
    return [
        AuditOutput("objects", "validate_objects", "image", pl.lit("lists"), show_objects),
        AuditOutput("captions", "caption_negated", "image", pl.lit("negated captions"), show_captions),
        AuditOutput(
            "questions", questions, "image", pl.col("correct_answer_template"), lambda row: show_question(row, options)
        ),
    ]  # fmt: skip


def show_objects(row: Row) -> AuditRow:
    """One statement for each object that is there, and for each that is not."""
    statements = [*map(object_present, row["positive_objects"]), *map(object_absent, row["negative_objects"])]
    return AuditRow(statements, text_views({"caption": row["caption"]}), _boxes(row))


def show_captions(row: Row) -> AuditRow:
    """One statement for each negated caption."""
    statements = [Statement("negated caption", f"This is true of the image: {text}") for text in row["negative_captions"]]
    return AuditRow(statements, text_views({"caption": row["caption"]}), _boxes(row))


def show_question(row: Row, options: str) -> AuditRow:
    """That the right answer is the only true one of its four options, the columns `options`_0 to `options`_3."""
    texts = {letter: row[f"{options}_{index}"] for index, letter in enumerate(LETTERS)}
    answer = LETTERS[row["correct_answer"]]
    listed = " ".join(f"({letter}) {text}" for letter, text in texts.items())
    statement = Statement("only true option", f"{answer} is true and no other is: {listed}")
    return AuditRow([statement], text_views(texts), _boxes(row))


def _boxes(row: Row) -> list[BoxView]:
    return object_boxes(row, row["positive_objects"], row["negative_objects"])
