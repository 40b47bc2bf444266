"""Step 6: one question of four options per image, answerable only by looking.

python -m shardmill.negbench.create_mcq --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from shardmill.core.seeding import below, uniform
from shardmill.core.stage import Options, TableStage
from shardmill.core.stage_main import main
from shardmill.language.relations import are_related
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
from shardmill.store.frames import LIST
from shardmill.util.errors import UserError

BOTH, MIXED, NEITHER = ("positives", "positives"), ("positives", "negatives"), ("negatives", "negatives")
"""Which lists the two objects of a question come from, by the cell that is true."""

PLANS = {
    2: (*permutations((("p0", "p1"), ("n0", "n1"))), *[(("p0", "n0"), ("p1", "n1"))] * 2),
    3: (*permutations((("p0", "p1"), ("n0", "n1"), ("p2", "n2"))), *[(("p0", "n0"), ("p1", "n1"), ("p2", "n2"))] * 2),
}
"""Equally likely ways to ask several questions about the first positives p0, p1, .. and negatives n0, n1, .. of a row.

In each place one plan in four has two positives, one in four two negatives, and two in four one of each."""

PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
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
    single_share: float = Field(
        0.0,
        ge=0,
        le=0.75,
        description="for balanced: the share of rows with one positive, to use these too (0: reject them)",
    )
    medium: Literal["image", "video", "photo"] = Field("image", description="the word for what is shown")
    negative_draw: Literal["uniform", "matched"] = Field(
        "uniform", description="matched: prefer negatives that are positives elsewhere, so that the object alone tells less"
    )
    object_counts: str | None = Field(
        None, description="for matched: a CSV with object,positives,negatives, as `shardmill build` writes"
    )

    @field_validator("single_share")
    @classmethod
    def one_question_each(cls, share: float, info: ValidationInfo) -> float:
        """Rows with one positive never get a second question, so their number would tell which rows cannot be "both"."""
        if share and info.data.get("questions_per_image", 1) > 1:
            raise ValueError("goes with questions_per_image=1 only")
        return share


class CreateMcq(TableStage):
    """Multiple-choice questions, one true option and three false ones.

    positive_objects (list), negative_objects (list) -> sub_id (int, the number of the question), correct_answer (int, 0-3),
    caption_0 .. caption_3 (text), correct_answer_template (text), mcq_objects (json): [{"name", "present"}] and option_truths
    (json): for each option what it claims, {name: present}.

    Style balanced: over two objects X and Y the options are the four cells of their truth table, and the true cell is drawn
    uniformly, taking two positives, one of each, or two negatives as the cell needs. A row must have two positives and two
    negatives, or the cells that it can have would be more frequent than the others, and a reader could tell. With `single_share`
    f, rows with one positive get one of the three cells that they can have, and the others get "both" with odds of 0.25 / (1 - f)
    instead of 0.25: all cells are equally frequent again if f is the share of such rows in the data.

    The questions of an image are about different objects: k of them take k positives and k negatives, split into pairs by one of
    PLANS, which make the cell of each question uniform. An object that came back would tell something about the answers, and so
    would a number of questions that depended on them.
    """

    name = "create_mcq"
    reads = ("positive_objects", "negative_objects")
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

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        fields = super().fingerprint(model)
        if self.options.negative_draw == "matched":
            fields["object counts"] = sha256(self.counts_file().read_bytes()).hexdigest()
        return fields

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        balanced = self.options.style == "balanced"
        positives, negatives = (1 if self.options.single_share or not balanced else 2), (2 if balanced else 1)
        words = {1: "no", 2: "fewer than two"}
        lists = table.select(
            "row_id",
            pl.col("positive_objects").str.json_decode(LIST).list.head(MAX_OBJECTS).alias("positives"),
            pl.col("negative_objects").str.json_decode(LIST).list.head(MAX_OBJECTS).alias("negatives"),
        ).with_columns(
            reject_reason=pl.when(pl.col("positives").list.len() < positives).then(pl.lit(f"{words[positives]} positives"))
            .when(pl.col("negatives").list.len() < negatives).then(pl.lit(f"{words[negatives]} negatives"))
        )  # fmt: skip
        usable = lists.filter(pl.col("reject_reason").is_null())
        make = self.balanced if balanced else self.original
        questions = make(usable.drop("reject_reason"))
        without = usable.join(questions, on="row_id", how="anti").select("row_id", reject_reason=pl.lit("no unrelated pair"))
        rejects = pl.concat([lists.filter(pl.col("reject_reason").is_not_null()).select("row_id", "reject_reason"), without])
        made = questions.select("row_id", "sub_id", *QUESTION).with_columns(reject_reason=pl.lit(None, pl.String))
        return pl.concat([made, rejects], how="diagonal").sort("row_id", "sub_id")

    def seed(self, *purpose: object) -> tuple[object, ...]:
        return (self.context.seed, self.seed_label, *purpose)

    def shuffled(self, usable: pl.DataFrame, column: str, *purpose: object) -> pl.DataFrame:
        """row_id and the list of a column in an order of its own per row, by weight for matched negatives."""
        elements = usable.select("row_id", pl.col(column).alias("name"), pl.int_ranges(pl.col(column).list.len()).alias("place"))
        elements = elements.explode("name", "place")
        key = uniform(pl.col("row_id") * MAX_OBJECTS + pl.col("place"), *self.seed(column, *purpose))
        if column == "negatives" and self.options.negative_draw == "matched":
            elements = elements.join(self.weights(), on="name", how="left")
            # Efraimidis & Spirakis 2006: the largest u^(1/w) is a draw by weight
            key = key ** (1 / pl.col("weight").fill_null(1.0))
        return elements.group_by("row_id").agg(pl.col("name").sort_by(key, descending=True).alias(column))

    def counts_file(self) -> Path:
        if self.options.object_counts is None or not Path(self.options.object_counts).is_file():
            raise UserError(f"create_mcq.object_counts names no file: {self.options.object_counts}; `shardmill build` writes one")
        return Path(self.options.object_counts)

    def weights(self) -> pl.DataFrame:
        """How much oftener than as a negative each object is a positive."""
        counts = pl.read_csv(self.counts_file(), columns=["object", "positives", "negatives"])
        weight = (pl.col("positives") + 1) / (pl.col("negatives") + 1)
        return counts.select(pl.col("object").alias("name"), weight.clip(0.01, 100.0).alias("weight"))

    def balanced(self, usable: pl.DataFrame) -> pl.DataFrame:
        """As many questions as wanted about the rows that have the objects for them, fewer about the others."""
        lists = self.shuffled(usable, "positives", 0).join(self.shuffled(usable, "negatives", 0), on="row_id")
        asked: list[pl.DataFrame] = []
        for count in range(self.options.questions_per_image, 1, -1):
            asked.append(self.several(lists, count))
            lists = lists.join(asked[-1], on="row_id", how="anti")
        asked.append(self.one(lists))
        return self.options_of_cells(pl.concat(asked))

    def several(self, lists: pl.DataFrame, count: int) -> pl.DataFrame:
        """`count` questions about each row that has the objects, no two of them in one question related."""
        places = {
            f"{column[0]}{position}": pl.col(column).list.get(position, null_on_oob=True)
            for column in ("positives", "negatives")
            for position in range(count)
        }
        lists = lists.select("row_id", **places).drop_nulls()
        plans = PLANS[count]
        for a, b in sorted({pair for plan in plans for pair in plan}):
            sound = unrelated(lists.select(a=a, b=b))
            lists = lists.join(sound, left_on=[a, b], right_on=["a", "b"], how="semi")
        lists = lists.with_columns(plan=below(pl.col("row_id"), len(plans), *self.seed("plan", count)))
        questions = []
        for k in range(count):
            mixed = 1 + below(pl.col("row_id"), 2, *self.seed("mixed", count, k))
            choices = [(pl.col("plan") == index, plan[k]) for index, plan in enumerate(plans)]
            pairs = lists.select(
                "row_id",
                a=pl.coalesce([pl.when(chosen).then(a) for chosen, (a, _) in choices]),
                b=pl.coalesce([pl.when(chosen).then(b) for chosen, (_, b) in choices]),
                cell=pl.coalesce(
                    [pl.when(chosen).then(mixed if a[0] != b[0] else 0 if a[0] == "p" else 3) for chosen, (a, b) in choices]
                ),
            )
            questions.append(self.in_order(pairs, k))
        return pl.concat(questions)

    def one(self, lists: pl.DataFrame) -> pl.DataFrame:
        """A question about each row that has a pair for every cell."""
        both, mixed, neither = (pick_pairs(lists, kind) for kind in (BOTH, MIXED, NEITHER))
        lists = lists.select("row_id", single=pl.lit(self.options.single_share > 0) & (pl.col("positives").list.len() == 1))
        able = pl.concat([both.select("row_id"), lists.filter("single").select("row_id")])
        for rows in (able, mixed, neither):  # a row that lacks a pair for one cell would make the others more frequent
            lists = lists.join(rows, on="row_id", how="semi")
        drawn = lists.select("row_id", cell=self.cell())
        cells = ((both, [0]), (mixed, [1, 2]), (neither, [3]))
        return self.in_order(
            pl.concat([pairs.join(drawn.filter(pl.col("cell").is_in(own)), on="row_id") for pairs, own in cells]), 0
        )

    def in_order(self, pairs: pl.DataFrame, k: int) -> pl.DataFrame:
        """Question k about the pairs (a, b), as row_id, cell, x, y and sub_id: which object is X follows from the cell or a coin.

        A mixed pair is (positive, negative): the positive is X in first_only and Y in second_only.
        """
        swap = uniform(pl.col("row_id"), *self.seed("order", k)) < 0.5
        turned = pl.when(pl.col("cell").is_in([1, 2])).then(pl.col("cell") == 2).otherwise(swap)
        x, y = pl.when(turned).then("b").otherwise("a"), pl.when(turned).then("a").otherwise("b")
        return pairs.select("row_id", pl.col("cell").cast(pl.Int64), x=x, y=y, sub_id=pl.lit(k, pl.Int64))

    def cell(self) -> pl.Expr:
        """The true cell: uniform over all questions, though rows with a single positive cannot have the first."""
        draw = uniform(pl.col("row_id"), *self.seed("cell", 0))
        both = pl.when(pl.col("single")).then(0.0).otherwise(0.25 / (1 - self.options.single_share))
        return pl.when(draw < both).then(0).otherwise(1 + ((draw - both) / (1 - both) * 3).floor()).cast(pl.Int64)

    def options_of_cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """The four options of each pair in a random order."""
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


def pick_pairs(lists: pl.DataFrame, kind: tuple[str, str]) -> pl.DataFrame:
    """row_id and an unrelated pair (a, b) from the two columns that `kind` names. Rows without one are left out.

    Tried in rounds over the shuffled lists, so that relations are looked up once per distinct pair and never row by row.
    """
    found: list[pl.DataFrame] = []
    first, second = (pl.col(column).list for column in kind)
    for i, j in PAIRS:
        # from two different lists the pair (i, j - 1), so that the first round is (0, 0)
        position = j if kind[0] == kind[1] else j - 1
        tried = lists.select("row_id", a=first.get(i, null_on_oob=True), b=second.get(position, null_on_oob=True)).drop_nulls()
        tried = tried.join(unrelated(tried), on=["a", "b"], how="semi")
        found.append(tried)
        lists = lists.join(tried, on="row_id", how="anti")
        if not lists.height:
            break
    return pl.concat(found)


def unrelated(pairs: pl.DataFrame) -> pl.DataFrame:
    """The distinct pairs (a, b) of objects of which neither is, is a kind of, or belongs to the other."""
    distinct = pairs.select("a", "b").unique()
    sound = [plain(a) != plain(b) and not are_related(a, b) for a, b in distinct.iter_rows()]
    return distinct.filter(pl.Series(sound, dtype=pl.Boolean))


if __name__ == "__main__":
    main(CreateMcq)
