"""What AnyEdit's rows state: that an instruction makes sense, what its result looks like, and that concepts can be pictured."""

from __future__ import annotations

import polars as pl

from shardmill.anyedit.edit_types import TYPES
from shardmill.audit.statements import AuditOutput, AuditRow, Row, Statement, object_boxes, text_views
from shardmill.store.image_columns import GENERATED_IMAGE, INPUT_IMAGE
from shardmill.store.run_folder import RunFolder

IMPLICIT_FIELDS = ("original_caption", "instruction", "target_caption")


def audit_outputs(run: RunFolder) -> list[AuditOutput]:
    """The instructions, the chains, the implicit edits and the concepts."""
    image = GENERATED_IMAGE if "generate_images" in run.stages else INPUT_IMAGE
    instructions = "judge_instructions" if "judge_instructions" in run.stages else "write_instructions"
    chained = pl.when(pl.col("chain") != "[]").then(pl.lit("chains"))
    implied = pl.when(pl.col("implicit") != "[]").then(pl.lit("implicit edits"))
    return [
        AuditOutput("instructions", instructions, image, pl.col("edit_type"), show_edit),
        AuditOutput("chains", "chain_instructions", image, chained, show_chain),
        AuditOutput("implicit edits", "write_implicit", INPUT_IMAGE, implied, show_implicit_edits),
        AuditOutput("concepts", "judge_concepts", INPUT_IMAGE, pl.lit("concepts"), show_concept),
    ]


def show_edit(row: Row) -> AuditRow:
    """That the instruction makes sense, and that it turns the caption into the output caption."""
    texts = {"input": row["edit_input"], "edit": row["edit"], "output": row["output"]}
    statements = edit_statements(row["edit_input"], row["edit"], row["output"], row["edit_type"])
    return AuditRow(statements, text_views(texts), object_boxes(row, row.get("input_objects") or [], []))


def show_chain(row: Row) -> AuditRow:
    """The same for each turn of a chain."""
    texts = {"input": row["input"]}
    statements = []
    for turn in row["chain"]:
        texts |= {f"turn {turn['turn']}": turn["edit"], f"after turn {turn['turn']}": turn["output"]}
        statements += edit_statements(turn["input"], turn["edit"], turn["output"], turn["edit_type"])
    return AuditRow(statements, text_views(texts))


def show_implicit_edits(row: Row) -> AuditRow:
    """That each implicit edit is likely to end as its target caption says."""
    statements, texts = [], []
    for each in row["implicit"]:
        before, edit, after = (each[name] for name in IMPLICIT_FIELDS)
        texts += text_views({"scene": before, "instruction": edit, "result": after})
        statements.append(Statement("implicit edit", f"{before} {edit} It is likely that it looks like this then: {after}"))
    return AuditRow(statements, texts)


def show_concept(row: Row) -> AuditRow:
    """That a concept can be pictured."""
    text = f"This is a thing or a kind of things that a picture can show: {row['concept']}"
    return AuditRow([Statement("concept", text)])


def edit_statements(before: str, edit: str, after: str | None, edit_type: str) -> list[Statement]:
    """What an edit states, with its type in words."""
    kind = TYPES[edit_type].human if edit_type in TYPES else edit_type
    statements = [Statement("instruction fits", f"“{edit}” ({kind}) makes sense for a picture of this: {before}")]
    if after is not None:
        statements.append(Statement("output caption", f"After “{edit}” the caption “{before}” becomes: {after}"))
    return statements
