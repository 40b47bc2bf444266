"""Step 7: questions of four options about an image, answerable only by looking.

python -m shardmill.negbench.create_mcq --run RUN --shard-index 3
"""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from shardmill.core.seeding import below, uniform
from shardmill.core.stage import FittedStage, Options
from shardmill.core.stage_main import main
from shardmill.language.relations import are_related
from shardmill.negbench.draw_questions import DRAWN
from shardmill.negbench.mcq_forms import (
    CELLS,
    FAMILIES,
    ORIGINAL,
    TRUTHS,
    at_position,
    cell_text,
    claim,
    claims,
    fill,
    listed,
    phrases,
    plain,
)
from shardmill.negbench.question_balance import blind_accuracy, shares_kept
from shardmill.store.frames import LIST

MAX_OBJECTS = 64
QUESTION = (
    "correct_answer",
    "caption_0",
    "caption_1",
    "caption_2",
    "caption_3",
    "correct_answer_template",
    "mcq_objects",
    "option_truths",
)


class McqOptions(Options):
    """Options of `create_mcq`."""

    style: Literal["balanced", "original"] = Field(
        "balanced", description="original: the published format, answerable without the image"
    )
    questions_per_image: int = Field(1, ge=1, le=3, description="questions about different objects, if there are enough")
    balance: float = Field(
        1.0, ge=0, le=1, description="0: keep all confirmed questions, though objects then reveal more; the log says how much"
    )
    medium: Literal["image", "video", "photo"] = Field("image", description="the word for what is shown")


class CreateMcq(FittedStage):
    """Multiple-choice questions, one true option and three false ones.

    positive_objects (list), negative_objects (list), valid_questions (json) -> sub_id (int, the number of the question),
    correct_answer (int, 0-3), caption_0 .. caption_3 (text), correct_answer_template (text), mcq_objects (json): [{"name",
    "present"}] and option_truths (json): for each option what it claims, {name: present}.

    Style balanced: over two objects X and Y the options are the four cells of their truth table. Pair and cell are those that
    `draw_questions` drew and the detector confirmed; `question_balance` says which of them are kept. Style original makes its own
    from the lists.
    """

    name = "create_mcq"
    reads = ("positive_objects", "negative_objects", "valid_questions")
    adds = {
        "sub_id": "int",
        "correct_answer": "int",
        "caption_0": "text",
        "caption_1": "text",
        "caption_2": "text",
        "caption_3": "text",
        "correct_answer_template": "text",
        "mcq_objects": "json",
        "option_truths": "json",
    }
    Options = McqOptions
    options: McqOptions

    @property
    def fit_rows(self) -> int:
        return self.block_rows if self.options.style == "balanced" else 0

    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        """The confirmed questions, and which of them are kept."""
        found = confirmed_questions(table).group_by("row_id", maintain_order=True).head(self.options.questions_per_image)
        chance = uniform(pl.col("row_id") * MAX_OBJECTS + pl.col("number"), *self.seed("kept"))
        share = pl.Series("share", shares_kept(found) ** self.options.balance)
        return found.with_columns(share).with_columns(kept=chance < pl.col("share"))

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        kept = fitted.filter("kept")
        return {
            "questions confirmed": fitted.height,
            "questions kept": kept.height,
            "predicted blind accuracy of all": round(blind_accuracy(fitted), 4),
            "predicted blind accuracy of those kept": round(blind_accuracy(kept), 4),
        }

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        return self.balanced(table) if self.options.style == "balanced" else self.from_lists(table)

    def balanced(self, table: pl.DataFrame) -> pl.DataFrame:
        """The questions that are kept, and why the other rows have none."""
        own = self.fitted.filter(pl.col("row_id").is_in(table["row_id"].implode()))
        kept = own.filter("kept").with_columns(pl.int_range(pl.len()).over("row_id").alias("sub_id"))
        made = self.options_of_cells(kept.select("row_id", "sub_id", "x", "y", "cell"))
        made = made.select("row_id", "sub_id", *QUESTION).with_columns(reject_reason=pl.lit(None, pl.String))
        reason = pl.when(pl.col("row_id").is_in(own["row_id"].implode())).then(pl.lit("left out for balance"))
        rest = table.join(kept, on="row_id", how="anti").select(
            "row_id", reject_reason=reason.otherwise(pl.lit("no question confirmed"))
        )
        return pl.concat([made, rest], how="diagonal").sort("row_id", "sub_id")

    def from_lists(self, table: pl.DataFrame) -> pl.DataFrame:
        """Questions in the published format, and why the other rows have none."""
        lists = table.select(
            "row_id",
            pl.col("positive_objects").str.json_decode(LIST).list.head(MAX_OBJECTS).alias("positives"),
            pl.col("negative_objects").str.json_decode(LIST).list.head(MAX_OBJECTS).alias("negatives"),
        ).with_columns(
            reject_reason=pl.when(pl.col("positives").list.len() < 1).then(pl.lit("no positives"))
            .when(pl.col("negatives").list.len() < 1).then(pl.lit("no negatives"))
        )  # fmt: skip
        usable = lists.filter(pl.col("reject_reason").is_null())
        questions = self.original(usable.drop("reject_reason"))
        without = usable.join(questions, on="row_id", how="anti").select("row_id", reject_reason=pl.lit("no unrelated pair"))
        rejects = pl.concat([lists.filter(pl.col("reject_reason").is_not_null()).select("row_id", "reject_reason"), without])
        made = questions.select("row_id", "sub_id", *QUESTION).with_columns(reject_reason=pl.lit(None, pl.String))
        return pl.concat([made, rejects], how="diagonal").sort("row_id", "sub_id")

    def seed(self, *purpose: object) -> tuple[object, ...]:
        return (self.context.seed, self.seed_label, *purpose)

    def shuffled(self, usable: pl.DataFrame, column: str) -> pl.DataFrame:
        """row_id and the list of a column in an order of its own per row."""
        elements = usable.select("row_id", pl.col(column).alias("name"), pl.int_ranges(pl.col(column).list.len()).alias("place"))
        elements = elements.explode("name", "place")
        key = uniform(pl.col("row_id") * MAX_OBJECTS + pl.col("place"), *self.seed(column))
        return elements.group_by("row_id").agg(pl.col("name").sort_by(key, descending=True).alias(column))

    def options_of_cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """The four options of each pair in a random order, and which of its objects is named first."""
        swap = uniform(pl.col("row_id") * 4 + pl.col("sub_id"), *self.seed("order")) < 0.5
        turned = pl.when(pl.col("cell").is_in([1, 2])).then(3 - pl.col("cell")).otherwise("cell")
        pairs = pairs.with_columns(
            x=pl.when(swap).then("y").otherwise("x"), y=pl.when(swap).then("x").otherwise("y"),
            cell=pl.when(swap).then(turned).otherwise("cell"),
        )  # fmt: skip
        names = phrases(pl.concat([pairs["x"], pairs["y"]]).unique())
        for column in ("x", "y"):
            renamed = names.rename({"name": column, "phrase": f"{column}_phrase", "quoted": f"{column}_quoted"})
            pairs = pairs.join(renamed, on=column, how="left")
        key = pl.col("row_id") * 4 + pl.col("sub_id")
        draws = {f"u{index}": uniform(key, *self.seed("position", index)) for index in range(4)}
        pairs = pairs.with_columns(**draws, family=below(key, len(FAMILIES), *self.seed("family")))
        worded = []
        for family, wording in enumerate(FAMILIES):
            texts = {
                f"text{index}": cell_text(cell, self.options.medium, wording, "x_phrase", "y_phrase")
                for index, cell in enumerate(CELLS)
            }
            worded.append(pairs.filter(pl.col("family") == family).with_columns(**texts))
        truths = {f"truth{index}": claims(*TRUTHS[cell]) for index, cell in enumerate(CELLS)}
        ranks = {
            f"rank{index}": pl.sum_horizontal([(pl.col(f"u{other}") < pl.col(f"u{index}")).cast(pl.Int64) for other in range(4)])
            for index in range(4)
        }
        pairs = pl.concat(worded).with_columns(**truths, **ranks)
        return pairs.with_columns(
            *(at_position("text", position).alias(f"caption_{position}") for position in range(4)),
            option_truths=pl.concat_str(
                pl.lit("["), pl.concat_str([at_position("truth", p) for p in range(4)], separator=","), pl.lit("]")
            ),
            correct_answer=pl.coalesce([pl.when(pl.col("cell") == index).then(f"rank{index}") for index in range(4)]),
            correct_answer_template=pl.col("cell").replace_strict(list(range(4)), list(CELLS), return_dtype=pl.String),
            mcq_objects=listed([("x_quoted", pl.col("cell").is_in([0, 1])), ("y_quoted", pl.col("cell").is_in([0, 2]))]),
        )

    def original(self, usable: pl.DataFrame) -> pl.DataFrame:
        """Questions in the published format: A and B positives, N a negative; further questions have another N."""
        lists = self.shuffled(usable, "positives").join(self.shuffled(usable, "negatives"), on="row_id")
        asked = []
        for k in range(self.options.questions_per_image):
            rows = lists.filter(pl.col("negatives").list.len() > k).select(
                "row_id",
                a=pl.col("positives").list.get(0),
                b=pl.col("positives").list.get(1, null_on_oob=True),
                n=pl.col("negatives").list.get(k, null_on_oob=True),
                sub_id=pl.lit(k, pl.Int64),
                draw=below(pl.col("row_id"), 3, *self.seed("template", k)),
            )
            asked.append(rows)
        rows = pl.concat(asked)
        for column in ("a", "b"):
            pairs = unrelated(rows.select(a=column, b="n").drop_nulls()).rename({"a": column, "b": "n"})
            sound = rows.join(pairs, on=[column, "n"], how="semi")
            rows = sound if column == "a" else pl.concat([sound, rows.filter(pl.col("b").is_null())])
        return self.original_options(rows)

    def original_options(self, rows: pl.DataFrame) -> pl.DataFrame:
        key = pl.col("row_id") * 4 + pl.col("sub_id")
        two, one = ["positive", "negative", "hybrid"], ["negative", "hybrid", "modified_positive"]
        chosen = pl.when(pl.col("b").is_not_null()).then(pl.col("draw").replace_strict([0, 1, 2], two, return_dtype=pl.String))
        rows = rows.with_columns(
            template=chosen.otherwise(pl.col("draw").replace_strict([0, 1, 2], one, return_dtype=pl.String)),
            correct_answer=below(key, 4, *self.seed("position")),
        )
        quoted = phrases(pl.concat([rows["a"], rows["b"].drop_nulls(), rows["n"]]).unique())
        for column in ("a", "b", "n"):
            rows = rows.join(
                quoted.select(pl.col("name").alias(column), pl.col("quoted").alias(f"{column}_quoted")), on=column, how="left"
            )
        texts = {name: fill(pattern, self.options.medium, a="a", b="b", n="n") for name, pattern in ORIGINAL.items()}
        right = pl.coalesce([pl.when(pl.col("template") == name).then(texts[name]) for name in (*two, "modified_positive")])
        a, b, n = "a_quoted", "b_quoted", "n_quoted"
        right_truth = (
            pl.when(pl.col("template") == "positive").then(claim([(a, True), (b, True)]))
            .when(pl.col("template") == "negative").then(claim([(n, False)]))
            .when(pl.col("template") == "hybrid").then(claim([(a, True), (n, False)]))
            .otherwise(claim([(a, True)]))
        )  # fmt: skip
        rows = rows.with_columns(
            text0=right, text1=texts["false_hybrid"], text2=texts["false_positive"], text3=texts["false_negative"],
            truth0=right_truth, truth1=claim([(n, True), (a, False)]), truth2=claim([(n, True)]), truth3=claim([(a, False)]),
        )  # fmt: skip
        # the three false options follow the right one around the circle, so that each position holds each of them equally often
        ranks = {f"rank{index}": (pl.col("correct_answer") + index) % 4 for index in range(4)}
        has_b = pl.col("b").is_not_null()
        with_b, without_b = [(a, pl.lit(True)), (b, pl.lit(True)), (n, pl.lit(False))], [(a, pl.lit(True)), (n, pl.lit(False))]
        return rows.with_columns(**ranks).with_columns(
            *(at_position("text", position).alias(f"caption_{position}") for position in range(4)),
            option_truths=pl.concat_str(
                pl.lit("["), pl.concat_str([at_position("truth", p) for p in range(4)], separator=","), pl.lit("]")
            ),
            correct_answer_template=pl.col("template"),
            mcq_objects=pl.when(has_b).then(listed(with_b)).otherwise(listed(without_b)),
        )


def confirmed_questions(table: pl.DataFrame) -> pl.DataFrame:
    """The questions of a table's rows: row_id, number, x, y, cell and the counts of their captions."""
    lists = table.select("row_id", each=pl.col("valid_questions").str.json_decode(DRAWN))
    rows = lists.explode("each").drop_nulls().with_columns(number=pl.int_range(pl.len()).over("row_id")).unnest("each")
    x_absent, y_absent = (pl.col("present").list.get(place).not_().cast(pl.Int64) for place in (0, 1))
    names = {name: pl.col("objects").list.get(place) for place, name in enumerate(("x", "y"))}
    counts = {name: pl.col("counts").list.get(place) for place, name in enumerate(("x_count", "y_count", "pair_count"))}
    return rows.select("row_id", "number", **names, cell=2 * x_absent + y_absent, **counts)


def unrelated(pairs: pl.DataFrame) -> pl.DataFrame:
    """The distinct pairs (a, b) of objects of which neither is, is a kind of, or belongs to the other."""
    distinct = pairs.select("a", "b").unique()
    sound = [plain(a) != plain(b) and not are_related(a, b) for a, b in distinct.iter_rows()]
    return distinct.filter(pl.Series(sound, dtype=pl.Boolean))


if __name__ == "__main__":
    main(CreateMcq)
