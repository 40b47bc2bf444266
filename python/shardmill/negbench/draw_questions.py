"""Step 3: what the questions and negations of a row are to be about, so that the detector can confirm it.

python -m shardmill.negbench.draw_questions --run RUN --shard-index 3
"""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from shardmill.core.seeding import seed_of
from shardmill.core.stage import FittedStage, Options
from shardmill.core.stage_main import main
from shardmill.negbench.question_pairs import PairDrawing
from shardmill.stages.matched_absents import AbsentDrawing
from shardmill.stages.occurrences import CoOccurrence, captions_of_images, occurrences
from shardmill.store.frames import LIST

DRAWN = pl.List(pl.Struct({"objects": LIST, "present": pl.List(pl.Boolean), "counts": pl.List(pl.Int64)}))
"""A question: its two objects, whether each is to be there, and how many captions of the block name the first, the second, and
both."""


MIN_SHARE = 0.05
"""In an input of few or repeated captions hardly any pair can be asked about in all four ways."""


class DrawOptions(Options):
    """Options of `draw_questions`."""

    draw: Literal["auto", "pairs", "rows"] = Field(
        "auto",
        description="pairs: balanced; rows: nearly every row gets questions, but what goes together reveals the answers; "
        "auto: rows if few pairs can be balanced",
    )
    per_image: int = Field(3, ge=1, le=8, description="questions drawn about an image; the detector refuses some of them")
    negatives: int = Field(4, ge=1, le=8, description="objects of other captions drawn as missing, at most; likewise")


class DrawQuestions(FittedStage):
    """Pairs of objects to ask about, and objects to deny, drawn from all captions of a block.

    image (text), caption (text), objects (list) -> drawn_questions (json): [{"objects": [x, y], "present": [bool, bool],
    "counts": [captions with x, with y, with both]}], of which a row may have none, and drawn_negatives (list): objects that the
    row lacks, each as often as other rows have it. `question_pairs` and `matched_absents` say how they are drawn. Names are
    canonical: the same name stands for an object where it is there and where it is not. What any caption of an image names is
    never taken to be absent from it.
    """

    name = "draw_questions"
    reads = ("image", "caption", "objects")
    adds = {"drawn_questions": "json", "drawn_negatives": "list"}
    Options = DrawOptions
    options: DrawOptions

    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        beside = CoOccurrence(occurrences(table), captions_of_images(table))
        questions = self.questions(table, PairDrawing(beside, seed_of(self.context.seed, self.seed_label, "pairs")))
        absents = AbsentDrawing(beside, self.options.negatives, seed_of(self.context.seed, self.seed_label, "absents")).table()
        negatives = absents.select(pl.lit("negative").alias("kind"), table["row_id"].gather(absents["row"]), x="name")
        return pl.concat([questions, negatives], how="diagonal").sort("row_id", "kind", "number", maintain_order=True)

    def questions(self, table: pl.DataFrame, drawing: PairDrawing) -> pl.DataFrame:
        """The questions of a block."""
        drawn = drawing.draw(self.options.per_image)
        if self.options.draw == "rows" or (self.options.draw == "auto" and drawn.height < MIN_SHARE * table.height):
            drawn = drawing.draw_by_row(self.options.per_image)
        added = [
            table["row_id"].gather(drawn["row"]),
            *(pl.Series(name, drawing.seen.names, dtype=pl.String).gather(drawn[name]) for name in ("x", "y")),
            drawn["cell"].is_in([0, 1]).alias("x_present"),
            drawn["cell"].is_in([0, 2]).alias("y_present"),
        ]
        return drawn.with_columns(added).drop("row").select(pl.lit("question").alias("kind"), pl.all())

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        questions, negatives = (fitted.filter(pl.col("kind") == kind) for kind in ("question", "negative"))
        return {
            "questions drawn": questions.height,
            "rows with one": questions["row_id"].n_unique(),
            "negatives drawn": negatives.height,
            "rows with some": negatives["row_id"].n_unique(),
        }

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        question = pl.struct(
            objects=pl.concat_list("x", "y"),
            present=pl.concat_list("x_present", "y_present"),
            counts=pl.concat_list("x_count", "y_count", "pair_count"),
        )
        own = self.fitted.filter(pl.col("row_id").is_in(table["row_id"].implode()))
        questions = own.filter(pl.col("kind") == "question").select("row_id", drawn_questions=question)
        negatives = own.filter(pl.col("kind") == "negative").select("row_id", drawn_negatives="x")
        cells = table.select("row_id", reject_reason=pl.lit(None, pl.String))
        for column, found in (("drawn_questions", questions), ("drawn_negatives", negatives)):
            lists = found.group_by("row_id", maintain_order=True).agg(column)
            text = pl.struct(v=pl.col(column)).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
            cells = cells.join(lists, on="row_id", how="left", maintain_order="left")
            cells = cells.with_columns(text.replace("null", "[]").alias(column))
        return cells


if __name__ == "__main__":
    main(DrawQuestions)
