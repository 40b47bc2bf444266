"""What two NegBench runs are compared by: what is balanced, or ought to be, and the verified objects."""

from __future__ import annotations

import polars as pl

from shardmill.compare.measures import CompareMeasures, Measure, as_text, entry_fields, list_size
from shardmill.store.frames import LIST

PARAPHRASED = (
    pl.col("paraphrased")
    .str.json_decode(pl.List(pl.Boolean))
    .list.eval(pl.when(pl.element()).then(pl.lit("yes")).otherwise(pl.lit("no")))
)

MEASURES = CompareMeasures(
    balances=(
        Measure("position of the true option", "create_mcq", as_text("correct_answer")),
        Measure("true cell", "create_mcq", as_text("correct_answer_template")),
        Measure("paraphrased", "paraphrase_mcq", PARAPHRASED),
        Measure("form of the negated caption", "caption_negated", entry_fields("negation_details", "form")),
        Measure("negation cue", "caption_negated", entry_fields("negation_details", "cue")),
        Measure("positive objects per row", "validate_objects", list_size("positive_objects")),
        Measure("negative objects per row", "validate_objects", list_size("negative_objects")),
    ),
    objects=tuple(
        Measure(f"{kind} objects", "validate_objects", pl.col(f"{kind}_objects").str.json_decode(LIST))
        for kind in ("positive", "negative")
    ),
)
