"""The dataset files, one function each, which writes what a shard adds to the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

import polars as pl

from shardmill.store.cells import Kind
from shardmill.store.frames import LIST, json_lines

OBJECTS = pl.List(pl.Struct({"name": pl.String, "present": pl.Boolean}))
BREAKS = r"[\t\r\n]+"
NEGATED = pl.col("negative_captions").str.json_decode(LIST)


@dataclass(frozen=True)
class ShardParts:
    """The parts of one shard: rows with negated captions, questions, and the columns that came from the input."""

    captions: pl.DataFrame
    questions: pl.DataFrame
    carried: list[str]

    @property
    def input_columns(self) -> list[str]:
        """The other columns of the input."""
        return [name for name in self.carried if name not in ("row_id", "image", "caption")]


def negcap_tsv(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """NegCap for open_clip: filepath and title, one negated caption per line."""
    lines = (
        shard.captions.select(filepath="image", title=pl.col("negative_captions").str.json_decode(LIST))
        .explode("title")
        .drop_nulls("title")
    )
    return _tsv(lines, file, first)


def negcap_table(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """NegCap as a table, one image per row, lists in JSON."""
    columns = ["row_id", "image", "caption", "positive_objects", "negative_objects", "negative_captions", "negation_details"]
    return _csv(shard.captions.select(list(dict.fromkeys([*columns, *shard.input_columns]))), file, first)


def negmcq_table(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """NegMCQ with the columns of the original; the template's sentences and the objects after them."""
    objects = pl.col("mcq_objects").str.json_decode(OBJECTS)
    present = objects.list.eval(pl.element().struct.field("name").filter(pl.element().struct.field("present")))
    absent = objects.list.eval(pl.element().struct.field("name").filter(~pl.element().struct.field("present")))
    table = shard.questions.select(
        pl.col("image").alias("image_path"),
        "correct_answer",
        *(pl.col(f"paraphrase_{index}").alias(f"caption_{index}") for index in range(4)),
        "correct_answer_template",
        "row_id",
        "sub_id",
        "mcq_objects",
        "option_truths",
        *(pl.col(f"caption_{index}").alias(f"template_{index}") for index in range(4)),
        positive1=present.list.get(0, null_on_oob=True),
        positive2=present.list.get(1, null_on_oob=True),
        negative=absent.list.get(0, null_on_oob=True),
    )
    return _csv(table, file, first)


def retrieval_table(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """Retrieval: filepath and captions, a list of the original and its negated captions."""
    captions = pl.concat_list(pl.col("caption"), NEGATED)
    text = pl.struct(v=captions).struct.json_encode()
    return _csv(shard.captions.select(filepath="image", captions=text.str.slice(5, text.str.len_chars() - 6)), file, first)


NEGFULL: Mapping[str, Kind] = MappingProxyType(
    {"row_id": "int", "image": "text", "caption": "text", "positive_objects": "list", "negative_objects": "list",
     "negative_captions": "list", "mcq": "json"}
)  # fmt: skip


def negfull_jsonl(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """NegFull: an image with its negated captions and its questions on each line."""
    columns = [name for name in NEGFULL if name not in ("negative_captions", "mcq")]
    rows = pl.concat([shard.captions.select(columns), shard.questions.select(columns)]).unique("row_id").sort("row_id")
    question = pl.struct(
        options=pl.concat_list([f"paraphrase_{index}" for index in range(4)]),
        correct_answer="correct_answer",
        template="correct_answer_template",
    ).struct.json_encode()
    questions = shard.questions.select("row_id", question=question).group_by("row_id", maintain_order=True).agg("question")
    questions = questions.select("row_id", mcq=pl.concat_str(pl.lit("["), pl.col("question").list.join(","), pl.lit("]")))
    rows = rows.join(shard.captions.select("row_id", "negative_captions"), on="row_id", how="left").join(
        questions, on="row_id", how="left"
    )
    rows = rows.with_columns(pl.col("negative_captions").fill_null("[]"), pl.col("mcq").fill_null("[]")).sort("row_id")
    rows.select(json_lines(NEGFULL)).write_csv(file, include_header=False, quote_style="never")
    return rows.height


def negfull_tsv(shard: ShardParts, file: IO[bytes], first: bool) -> int:
    """NegFull for open_clip: every caption that is true of its image, original ones only if all their objects were found."""
    confirmed = equally_long("objects", "seen_objects")
    pieces = [
        shard.captions.filter(confirmed).select("row_id", order=pl.lit(0), filepath="image", title="caption"),
        shard.captions.select("row_id", order=pl.lit(1), filepath="image", title=NEGATED).explode("title").drop_nulls("title"),
        shard.questions.select(
            "row_id", order=pl.lit(2), filepath="image",
            title=pl.coalesce([pl.when(pl.col("correct_answer") == index).then(f"paraphrase_{index}") for index in range(4)]),
        ),
    ]  # fmt: skip
    lines = pl.concat(pieces).sort("row_id", "order", maintain_order=True).select("filepath", "title")
    return _tsv(lines, file, first)


FILES: Mapping[str, Callable[[ShardParts, IO[bytes], bool], int]] = MappingProxyType(
    {
        "negcap.tsv": negcap_tsv,
        "negcap.csv": negcap_table,
        "negmcq.csv": negmcq_table,
        "retrieval.csv": retrieval_table,
        "negfull.jsonl": negfull_jsonl,
        "negfull.tsv": negfull_tsv,
    }
)
"""The writer of each dataset file; it returns how many rows it wrote."""


def equally_long(first: str, second: str) -> pl.Expr:
    """Whether two list columns have the same number of items: no item of the first was dropped for the second."""
    return pl.col(first).str.json_decode(LIST).list.len() == pl.col(second).str.json_decode(LIST).list.len()


def object_counts(table: pl.DataFrame) -> pl.DataFrame:
    """How often each object is a positive and how often a negative."""
    counts = []
    for column, other in (("positives", "negatives"), ("negatives", "positives")):
        names = table.select(object=pl.col(f"{column[:-1]}_objects").str.json_decode(LIST)).explode("object").drop_nulls()
        counts.append(
            names.group_by("object").agg(pl.len().cast(pl.Int64).alias(column)).with_columns(pl.lit(0, pl.Int64).alias(other))
        )
    return pl.concat([frame.select("object", "positives", "negatives") for frame in counts])


def _tsv(lines: pl.DataFrame, file: IO[bytes], first: bool) -> int:
    """Lines of filepath and title; line breaks and tabs in a caption become spaces."""
    lines = lines.with_columns(pl.col("title").str.replace_all(BREAKS, " ").str.strip_chars())
    lines.write_csv(file, separator="\t", include_header=first)
    return lines.height


def _csv(table: pl.DataFrame, file: IO[bytes], first: bool) -> int:
    table.write_csv(file, include_header=first)
    return table.height
