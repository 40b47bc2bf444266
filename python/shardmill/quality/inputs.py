"""Rules on the input: duplicates among its captions and images, and texts that a spreadsheet would run."""

from __future__ import annotations

import polars as pl

from shardmill.quality.rules import QualityRule, at_most
from shardmill.store.cells import looks_like_formula
from shardmill.store.run_folder import INGEST, RunFolder

COPIES = at_most(0.02, 0.1)
UNUSUAL_START = r"^\s*[^\p{L}\p{N}\s]"
"""What few texts begin with, and all formulas: only such texts are looked at one by one."""


def input_rules(run: RunFolder, *columns: str) -> list[QualityRule]:
    """The rules on those of the text columns that the input has."""
    texts = [name for name in columns if run.plan.input.columns.get(name) == "text"]
    return [*map(_copies_rule, texts), _formula_rule(texts)] if texts else []


def _copies_rule(column: str) -> QualityRule:
    return QualityRule(
        f"input.{column}.copies",
        f"No two rows of the input have the same {column}.",
        COPIES,
        (column,),
        pl.col(column),
        stage=INGEST,
        counts="copies",
        advice="Duplicate rows weigh more in training, and may be in both halves of a split. Remove them from the input.",
    )


def _formula_rule(columns: list[str]) -> QualityRule:
    return QualityRule(
        "input.formulas",
        "No caption or image path is one that a spreadsheet would run as a formula.",
        at_most(0.0),
        tuple(columns),
        pl.concat_list([_is_formula(name) for name in columns]),
        stage=INGEST,
        example=pl.coalesce([pl.when(_is_formula(name)).then(pl.col(name)) for name in columns]),
        advice="Such texts are kept as they are. Do not open the CSV files of this run in a spreadsheet that runs formulas.",
    )


def _is_formula(column: str) -> pl.Expr:
    """Whether a text is a formula; null where there is no text."""
    text = pl.col(column)
    suspicious = pl.when(text.str.contains(UNUSUAL_START)).then(text)
    return pl.when(text.is_not_null()).then(suspicious.map_elements(looks_like_formula, return_dtype=pl.Boolean).fill_null(False))
