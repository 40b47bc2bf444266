"""NegBench with the questions that it asked before they were balanced over the whole input.

The absent objects are those that were proposed for a caption: names of a lexicon, which say by themselves that they are absent.
"""

from __future__ import annotations

import polars as pl

from shardmill.core.pipeline import Pipeline, in_package
from shardmill.core.seeding import below
from shardmill.negbench.create_mcq import QUESTION, CreateMcq

PER_CELL = {0: ("p0", "p1"), 1: ("p0", "n0"), 2: ("n0", "p0"), 3: ("n0", "n1")}
"""Which of a row's positives and negatives X and Y are in each cell."""


class CreateMcqFromProposals(CreateMcq):
    """Balanced questions about each row by itself: a uniform cell over its own positives and the negatives proposed for it.

    positive_objects (list), negative_objects (list) -> as `create_mcq`.
    """

    fit_rows = 0

    def balanced(self, table: pl.DataFrame) -> pl.DataFrame:
        strings = pl.List(pl.String)
        lists = table.select(
            "row_id",
            positives=pl.col("positive_objects").str.json_decode(strings),
            negatives=pl.col("negative_objects").str.json_decode(strings),
        )
        lists = self.shuffled(lists, "positives").join(self.shuffled(lists, "negatives"), on="row_id")
        usable = lists.select(
            "row_id",
            p0=pl.col("positives").list.get(0, null_on_oob=True),
            p1=pl.col("positives").list.get(1, null_on_oob=True),
            n0=pl.col("negatives").list.get(0, null_on_oob=True),
            n1=pl.col("negatives").list.get(1, null_on_oob=True),
            cell=below(pl.col("row_id"), 4, *self.seed("cell")),
            sub_id=pl.lit(0, pl.Int64),
        ).drop_nulls()
        made = self.options_of_cells(usable.with_columns(x=_of_cell(0), y=_of_cell(1)).drop("p0", "p1", "n0", "n1"))
        rest = table.join(usable, on="row_id", how="anti")
        rejected = rest.select("row_id", reject_reason=pl.lit("fewer than two positives or negatives"))
        return pl.concat([made.select("row_id", "sub_id", *QUESTION), rejected], how="diagonal").sort("row_id")


def _of_cell(place: int) -> pl.Expr:
    """The first or the second object of the cell."""
    return pl.coalesce([pl.when(pl.col("cell") == cell).then(names[place]) for cell, names in PER_CELL.items()])


PIPELINE = Pipeline(
    "negbench_earlier",
    stages=(
        *in_package("shardmill.negbench", "ExtractObjects", "ProposeNegatives", "DrawQuestions", "FilterObjects"),
        *in_package("shardmill.negbench", "ValidateObjects", "CaptionNegated"),
        CreateMcqFromProposals,
        *in_package("shardmill.negbench", "ParaphraseMcq"),
    ),
    datasets="shardmill.negbench.build:build",
)
