"""Quality rules as data: what is measured of which columns, and which share is allowed.

    QualityRule("captions.short", "Captions have at most 40 words.", at_most(0.05, 0.2), ("caption",),
                pl.col("caption").str.count_matches(r"\\S+") > 40, advice="Ask the model for shorter captions.")

`quality.rule_checks` reads the rows once and turns rules into findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

CHECKED_ROWS = 10_000
"""Rows that checks see which look at every word. A fault in one row of a thousand is found with near certainty."""

Row = dict[str, Any]
"""A line of a stage as Python values, list and json cells decoded."""
RowCheck = Callable[[Row], Iterable[str | None]]
"""Yields, for each thing that is checked in a row, None or what is wrong with it."""


@dataclass(frozen=True)
class Limits:
    """The share that a rule is held to.

    Args:
        look: A share beyond this one is for a person to look at.
        fail: A share surely beyond this one (its 95 % Wilson interval lies beyond it) fails the rule.
        is_least: Whether the limits are lower ones: the share must be at least `look`.
    """

    look: float
    fail: float
    is_least: bool = False


NEVER = Limits(0.0, 0.005)
"""No row may break the rule: one is to be looked at, surely more than 0.5 % fail."""


def at_most(look: float, fail: float = 1.0) -> Limits:
    """The share should be at most `look`, and fails the rule if it is surely above `fail`."""
    return Limits(look, fail)


def at_least(look: float, fail: float = 0.0) -> Limits:
    """The share should be at least `look`, and fails the rule if it is surely below `fail`."""
    return Limits(look, fail, is_least=True)


@dataclass(frozen=True)
class QualityRule:
    """A statement about good data, how it is measured, and how much is allowed.

    Args:
        id: Its name in report.json, unique in a report: `captions.polarity`.
        meaning: What good data is, in one sentence.
        limits: NEVER, `at_most(look, fail)` or `at_least(look, fail)`.
        columns: The columns that are read.
        expression: A Polars expression over these columns, where list columns are lists and json columns are text; null where
            nothing is checked. Its value, or each item of it if it is a list, counts as one thing. Or, for what no expression
            can say, a RowCheck, which is run on a seeded sample of the rows.
        counts: Which share the limits are about. "true": of things for which the expression is true (for a RowCheck: that have a
            problem; with `at_least`, that have none). "commonest": of things that have the commonest value. "copies": of things
            whose text repeats another's.
        fault: What is wrong if the rule is not kept, in one sentence: the report says this instead of the meaning then.
        advice: What a bad value does to training, and what to do about it.
        stage: The stage whose rows are read; if not given, the last one that has the columns.
        example: The text that shows a line among the examples; if not given, the columns.
        per_line: Whether the share is one of lines rather than of things.
        max_rows: How many sampled rows a RowCheck is run on, at most 10,000; fewer if it is slow.
        enough: How many things settle a verdict: fewer fail nothing, and are said to be too few.
    """

    id: str
    meaning: str
    limits: Limits
    columns: tuple[str, ...]
    expression: pl.Expr | RowCheck
    counts: Literal["true", "commonest", "copies"] = "true"
    fault: str = ""
    advice: str = ""
    stage: str = ""
    example: pl.Expr | None = None
    per_line: bool = False
    max_rows: int = CHECKED_ROWS
    enough: int = 0


def at_stage(stage: str, *rules: QualityRule) -> list[QualityRule]:
    """The rules, about the rows of one stage."""
    return [replace(rule, stage=stage) for rule in rules]


def items_of(column: str, *fields: str) -> pl.Expr:
    """A json column of objects as a list of these text fields: `pl.element().struct.field(name)` picks one of an item."""
    return pl.col(column).str.json_decode(pl.List(pl.Struct(dict.fromkeys(fields, pl.String))))


def field_of_items(column: str, field: str) -> pl.Expr:
    """One text field of every item of a json column of objects, as a list."""
    return items_of(column, field).list.eval(pl.element().struct.field(field))


def word_count(column: str) -> pl.Expr:
    """The number of words of a text column."""
    return pl.col(column).str.count_matches(r"\S+")
