"""Step 3: what the questions of a row are to be about, so that the detector can confirm it.

python -m shardmill.negbench.draw_questions --run RUN --shard-index 3
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from shardmill.core.seeding import seed_of
from shardmill.core.stage import FittedStage, Options
from shardmill.core.stage_main import main
from shardmill.language.relations import related_pairs
from shardmill.negbench.canonical_names import canonical_names
from shardmill.negbench.implied import implied_pairs
from shardmill.negbench.question_pairs import MIN_ROWS_OF_NAME, SMALL_BLOCK, Occurrences, PairDrawing
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


class DrawQuestions(FittedStage):
    """Pairs of objects to ask about, drawn from all captions of a block.

    image (text), caption (text), objects (list) -> drawn_questions (json): [{"objects": [x, y], "present": [bool, bool],
    "counts": [captions with x, with y, with both]}], of which a row may have none. `question_pairs` says how they are drawn.
    Names are canonical: the same name stands for an object where it is there and where it is not. What any caption of an image
    names is never taken to be absent from it.
    """

    name = "draw_questions"
    reads = ("image", "caption", "objects")
    adds = {"drawn_questions": "json"}
    Options = DrawOptions
    options: DrawOptions

    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        names, seen = occurrences(table)
        drawing = PairDrawing(seen, captions_of_images(table), seed_of(self.context.seed, self.seed_label, "pairs"))
        drawn = drawing.draw(self.options.per_image)
        if self.options.draw == "rows" or (self.options.draw == "auto" and drawn.height < MIN_SHARE * table.height):
            drawn = drawing.draw_by_row(self.options.per_image)
        added = [
            table["row_id"].gather(drawn["row"]),
            *(pl.Series(name, names, dtype=pl.String).gather(drawn[name]) for name in ("x", "y")),
            drawn["cell"].is_in([0, 1]).alias("x_present"),
            drawn["cell"].is_in([0, 2]).alias("y_present"),
        ]
        return drawn.with_columns(added).drop("row").sort("row_id", "number")

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        return {"questions drawn": fitted.height, "rows with one": fitted["row_id"].n_unique()}

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        question = pl.struct(
            objects=pl.concat_list("x", "y"),
            present=pl.concat_list("x_present", "y_present"),
            counts=pl.concat_list("x_count", "y_count", "pair_count"),
        )
        own = self.fitted.filter(pl.col("row_id").is_in(table["row_id"].implode())).select("row_id", question=question)
        lists = own.group_by("row_id", maintain_order=True).agg(drawn_questions="question")
        text = pl.struct(v=pl.col("drawn_questions")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
        cells = table.select("row_id").join(lists, on="row_id", how="left", maintain_order="left")
        return cells.select("row_id", reject_reason=pl.lit(None, pl.String), drawn_questions=text.replace("null", "[]"))


def image_numbers(table: pl.DataFrame) -> pl.Series:
    """For each row the number of its image; a row that names none has one of its own."""
    own = pl.int_range(pl.len()).cast(pl.String)
    key = pl.when(pl.col("image").fill_null("") == "").then(own).otherwise(pl.concat_str(pl.lit("/"), "image"))
    return table.select(image=key.rank("dense").cast(pl.Int64) - 1)["image"]


def captions_of_images(table: pl.DataFrame) -> list[str]:
    """For each row all captions of its image, a line each."""
    texts = table.select(image=image_numbers(table), caption=pl.col("caption").fill_null(""))
    return texts.select(pl.col("caption").str.join("\n").over("image"))["caption"].to_list()


def occurrences(table: pl.DataFrame) -> tuple[list[str], Occurrences]:
    """The canonical names of a table's objects, and where each occurs. Names that occur once are left out of a large table."""
    lists = table.select(name=pl.col("objects").str.json_decode(LIST)).with_row_index("row")
    found = lists.explode("name").drop_nulls()
    counts = dict(found["name"].value_counts().iter_rows())
    canonical = pl.DataFrame(
        list(canonical_names(counts).items()), schema={"name": pl.String, "canonical": pl.String}, orient="row"
    )
    found = found.join(canonical, on="name").select("row", name="canonical").unique()
    least = MIN_ROWS_OF_NAME if table.height >= SMALL_BLOCK else 1
    names = sorted(found["name"].value_counts().filter(pl.col("count") >= least)["name"].to_list())
    numbers = pl.DataFrame({"name": names, "number": range(len(names))}, schema={"name": pl.String, "number": pl.Int64})
    found = found.join(numbers, on="name").select(pl.col("row").cast(pl.Int64), "number").sort("row", "number")
    number_of = dict(zip(names, range(len(names)), strict=True))
    related = {number_of[one] * len(names) + number_of[other] for one, other in (*related_pairs(names), *implied_pairs(names))}
    return names, Occurrences(
        names=names,
        rows=table.height,
        row=found["row"].to_numpy(),
        name=found["number"].to_numpy(),
        image=image_numbers(table).to_numpy(),
        related=np.array(sorted(related), np.int64),
    )


if __name__ == "__main__":
    main(DrawQuestions)
