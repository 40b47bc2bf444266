"""What two AnyEdit runs are compared by: edit types, verdicts on instructions, chains, and the objects of the captions."""

from __future__ import annotations

import polars as pl

from shardmill.compare.measures import CompareMeasures, Measure, as_text, entry_fields
from shardmill.store.frames import LIST

TURNS = pl.List(pl.Struct({"turn": pl.Int64}))

MEASURES = CompareMeasures(
    balances=(
        Measure("edit type drawn", "draw_edits", as_text("edit_type")),
        Measure("edit type written", "write_instructions", as_text("edit_type")),
        Measure("verdict on the instruction", "judge_instructions", as_text("instruction_verdict")),
        Measure("turns of the chain", "chain_instructions", pl.col("chain").str.json_decode(TURNS).list.len().cast(pl.String)),
        Measure("type of the turn", "chain_instructions", entry_fields("chain", "edit_type")),
    ),
    objects=(Measure("objects of the captions", "select_captions", pl.col("input_objects").str.json_decode(LIST)),),
)
