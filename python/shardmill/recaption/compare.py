"""What two recaption runs are compared by: the verdicts on captions, and which texts the merged lines hold."""

from __future__ import annotations

import polars as pl

from shardmill.compare.measures import CompareMeasures, Measure, entry_fields
from shardmill.store.frames import LIST

MEASURES = CompareMeasures(
    balances=(
        Measure("verdict on the caption", "check_captions", entry_fields("checked", "fault")),
        Measure("verdict by text", "check_captions", entry_fields("checked", "captioner", "perspective", "fault")),
        Measure("text of the line", "merge_captions", pl.col("text_sources").str.json_decode(LIST)),
    )
)
