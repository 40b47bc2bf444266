"""Step 3: what may be asked about a scene, so that the name of an object does not tell whether it is there.

python -m shardmill.antidote.draw_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from shardmill.core.seeding import seed_of
from shardmill.core.stage import FittedStage, Options, Row
from shardmill.core.stage_main import main
from shardmill.language.nouns import fold
from shardmill.stages.matched_absents import AbsentDrawing, matched_weights
from shardmill.stages.occurrences import SMALL_BLOCK, CoOccurrence, occurrences
from shardmill.store.frames import LIST


class DrawOptions(Options):
    """Options of `draw_objects`."""

    absent_count: int = Field(
        3, ge=1, le=8, description="objects of other scenes drawn as absent, at most; the detector refuses some"
    )


class DrawObjects(FittedStage):
    """Objects to ask about, each as often where it is as where it is not.

    scene_caption (text), present, absent (list) -> drawn_present, drawn_absent (list): objects of the scene, and objects that
    other scenes have and that could be in this one, in the order in which they are to be asked about. Over a block a name comes
    first among the absent ones as often as among the present ones.
    Fewer than 500 rows share too few names for that: there both lists are those of the scene.
    """

    name = "draw_objects"
    reads = ("scene_caption", "present", "absent")
    adds = {"drawn_present": "list", "drawn_absent": "list"}
    Options = DrawOptions
    options: DrawOptions

    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        drawn = own_lists(table) if table.height < SMALL_BLOCK else self.matched(table)
        random = np.random.Generator(np.random.PCG64(seed_of(self.context.seed, self.seed_label, "order")))
        # Efraimidis & Spirakis 2006: the largest u^(1/w) come first in a draw by weight without replacement
        key = np.log(random.random(drawn.height)) / drawn["weight"].to_numpy()
        drawn = drawn.with_columns(table["row_id"].gather(drawn["row"]), key=key)
        return drawn.sort("row_id", "key", descending=[False, True]).select("row_id", "present", "name")

    def matched(self, table: pl.DataFrame) -> pl.DataFrame:
        """Objects of each row and objects that it lacks, with weights by which names are picked as often on both sides."""
        seen = occurrences(table, "present")
        beside = CoOccurrence(seen, table["scene_caption"].fill_null("").to_list())
        drawing = AbsentDrawing(beside, self.options.absent_count, seed_of(self.context.seed, self.seed_label, "absent"))
        random = np.random.Generator(np.random.PCG64(seed_of(self.context.seed, self.seed_label, "present")))
        kept = random.random(len(seen.name)) < drawing.share_drawn()[seen.name]  # what few rows could lack is asked about less
        sides = (seen.row[kept], seen.name[kept]), (drawing.row, drawing.name)
        weights = matched_weights(*sides, seen.rows, seen.count)
        names = pl.Series("name", seen.names, dtype=pl.String)
        return pl.concat(
            pl.DataFrame({"row": row, "name": names.gather(name), "present": [there] * len(row), "weight": weight[name]})
            for (row, name), weight, there in zip(sides, weights, (True, False), strict=True)
        )

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        present, absent = fitted.filter("present"), fitted.filter(~pl.col("present"))
        both = present.join(absent, on="row_id", how="semi")
        return {"drawn as present": present.height, "drawn as absent": absent.height, "rows with both": both["row_id"].n_unique()}

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        own = self.fitted.filter(pl.col("row_id").is_in(table["row_id"].implode()))
        cells = table.select("row_id", "present", reject_reason=pl.lit(None, pl.String))
        for column, there in (("drawn_present", True), ("drawn_absent", False)):
            lists = (
                own.filter(pl.col("present") == there).group_by("row_id", maintain_order=True).agg(pl.col("name").alias(column))
            )
            cells = cells.join(lists, on="row_id", how="left", maintain_order="left")
        named = [_as_named(*each) for each in cells.select(pl.col("present").str.json_decode(LIST), "drawn_present").iter_rows()]
        # No pair is asked about without an absent one; but a row with two empty lists would look like one of another system
        drawn = pl.when(pl.col("drawn_absent").is_null()).then(pl.col("present").str.json_decode(LIST))
        cells = cells.with_columns(drawn_present=drawn.otherwise(pl.Series(named, dtype=LIST)))
        texts = [
            pl.struct(v=pl.col(name).fill_null([]))
            .struct.json_encode()
            .str.strip_prefix('{"v":')
            .str.strip_suffix("}")
            .alias(name)
            for name in ("drawn_present", "drawn_absent")
        ]
        return cells.select("row_id", "reject_reason", *texts)


def own_lists(table: pl.DataFrame) -> pl.DataFrame:
    """The lists that scenes came with."""
    lists = table.select(pl.col("present", "absent").str.json_decode(LIST)).with_row_index("row")
    found = [
        lists.select(pl.col("row").cast(pl.Int64), name=column, present=pl.lit(column == "present"), weight=pl.lit(1.0))
        for column in ("present", "absent")
    ]
    drawn = pl.concat(found).explode("name").drop_nulls("name")
    return drawn.with_columns(
        name=pl.when("present").then(pl.col("name").map_elements(fold, return_dtype=pl.String)).otherwise("name")
    )


def drawn_names(row: Row, which: Literal["present", "absent"]) -> list[str] | None:
    """The objects of a row that are drawn as present or absent; None if the row comes from elsewhere and none were drawn."""
    if not (row.get("drawn_present") or row.get("drawn_absent")):
        return None
    names: list[str] = row[f"drawn_{which}"]
    return names


def _as_named(names: list[str], drawn: list[str] | None) -> list[str]:
    """The drawn names as the row has them, without those that it calls otherwise: a couch would tell that it is there."""
    own = {fold(name): name for name in reversed(names)}
    return [own[name] for name in drawn or () if name in own]


if __name__ == "__main__":
    main(DrawObjects)
