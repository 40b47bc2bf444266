"""How the lines of a run spread over what matters, and how often objects are named: the figures that two runs are compared by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from shardmill.store.frames import LIST, scan_frame
from shardmill.store.run_folder import RunFolder

TURNS = pl.List(pl.Struct({"turn": pl.Int64}))


@dataclass(frozen=True)
class Measure:
    """A category, or a list of them, for each line of a stage; null where a line has none."""

    name: str
    stage: str
    category: pl.Expr


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def _each(column: str, *fields: str) -> pl.Expr:
    """The entries of a json column, a list of objects: their fields, as words."""
    entries = pl.col(column).str.json_decode(pl.List(pl.Struct(dict.fromkeys(fields, pl.String))))
    words = [pl.element().struct.field(field).fill_null("good" if field == "fault" else "none") for field in fields]
    return entries.list.eval(pl.concat_str(words, separator=" ").str.strip_chars())


def _size(column: str) -> pl.Expr:
    """How many names a list has."""
    return pl.col(column).str.json_decode(LIST).list.len().cast(pl.String)


BALANCES: Mapping[str, Sequence[Measure]] = {
    "negbench": (
        Measure("position of the true option", "create_mcq", _text("correct_answer")),
        Measure("true cell", "create_mcq", _text("correct_answer_template")),
        Measure("paraphrased", "paraphrase_mcq", pl.col("paraphrased").str.json_decode(pl.List(pl.Boolean)).list.eval(
            pl.when(pl.element()).then(pl.lit("yes")).otherwise(pl.lit("no")))),
        Measure("form of the negated caption", "caption_negated", _each("negation_details", "form")),
        Measure("negation cue", "caption_negated", _each("negation_details", "cue")),
        Measure("positive objects per row", "validate_objects", _size("positive_objects")),
        Measure("negative objects per row", "validate_objects", _size("negative_objects")),
    ),
    "antidote": (
        Measure("verdict on the question", "judge_questions", _each("questions", "kind", "verdict")),
        Measure("form of the question", "ask_presuppositions", _each("asked", "kind", "form")),
        Measure("answer of the existence question", "ask_pope", _each("pope", "answer")),
        Measure("kind of the preference pair", "pair_preferences", _text("query_kind")),
        Measure("present objects per row", "check_facts", _size("verified_present")),
        Measure("absent objects per row", "check_facts", _size("verified_absent")),
    ),
    "recaption": (
        Measure("verdict on the caption", "check_captions", _each("checked", "fault")),
        Measure("verdict by text", "check_captions", _each("checked", "captioner", "perspective", "fault")),
        Measure("text of the line", "merge_captions", pl.col("text_sources").str.json_decode(LIST)),
    ),
    "anyedit": (
        Measure("edit type drawn", "draw_edits", _text("edit_type")),
        Measure("edit type written", "write_instructions", _text("edit_type")),
        Measure("verdict on the instruction", "judge_instructions", _text("instruction_verdict")),
        Measure("turns of the chain", "chain_instructions", pl.col("chain").str.json_decode(TURNS).list.len().cast(pl.String)),
        Measure("type of the turn", "chain_instructions", _each("chain", "edit_type")),
    ),
}  # fmt: skip
"""What is balanced, or ought to be, in each pipeline; of stages that a run need not have."""

OBJECTS: Mapping[str, Sequence[Measure]] = {
    "negbench": tuple(
        Measure(f"{kind} objects", "validate_objects", pl.col(f"{kind}_objects").str.json_decode(LIST))
        for kind in ("positive", "negative")
    ),
    "antidote": tuple(
        Measure(f"{kind} objects", "check_facts", pl.col(f"verified_{kind}").str.json_decode(LIST))
        for kind in ("present", "absent")
    ),
    "recaption": (),
    "anyedit": (Measure("objects of the captions", "select_captions", pl.col("input_objects").str.json_decode(LIST)),),
}


def counts_of(run: RunFolder, shards: Mapping[str, Sequence[int]], measure: Measure) -> Counter[str]:
    """How many lines (or entries of lines) of the given shards fall into each category. One shard is in memory at a time."""
    total: Counter[str] = Counter()
    for shard in shards.get(measure.stage, ()):
        words = _column(run, shard, measure)
        if words.dtype == pl.List:
            words = words.explode(keep_nulls=False, empty_as_null=False)
        for word, count in words.drop_nulls().value_counts().iter_rows():
            total[word] += count
    return total


def naming_rows(run: RunFolder, shards: Mapping[str, Sequence[int]], measure: Measure) -> tuple[Counter[str], int]:
    """How many rows name each object in a list of a stage, and how many rows there are."""
    total: Counter[str] = Counter()
    rows = 0
    for shard in shards.get(measure.stage, ()):
        lists = _column(run, shard, measure)
        rows += len(lists)
        for word, count in lists.list.unique().explode(keep_nulls=False, empty_as_null=False).value_counts().iter_rows():
            total[word] += count
    return total, rows


def _column(run: RunFolder, shard: int, measure: Measure) -> pl.Series:
    kinds = run.kinds(measure.stage)
    part = scan_frame(run.files(measure.stage, shard).part, kinds, run.plan.part_format)
    return part.select(measure.category.alias("category")).collect()["category"]
