"""What an Antidote run has to export."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from shardmill.antidote import build
from shardmill.export.offer import Offer, Row, Talk
from shardmill.store.run_folder import RunFolder

PICTURES, QUERIES, PAIRS = "check_facts", build.QUERIES, build.PAIRS
GENERATED = "generated_image"
BOXES = ("detections", "verified_present")


def offers(run: RunFolder) -> list[Offer]:
    """Preference pairs, pictures with what is in them for sure, and questions."""
    return [
        Offer("pairs", "preference pairs of answers", (PAIRS,), GENERATED, talks=talks, pairs=True, doubles=doubles),
        Offer(
            "pictures", "painted pictures with their verified objects", (PICTURES,), GENERATED,
            texts=pl.concat_list("verified_caption"), boxes=BOXES,
        ),
        Offer("queries", "all questions about a picture", (QUERIES,), GENERATED, boxes=BOXES),
    ]  # fmt: skip


def doubles(run: RunFolder, shards: list[int]) -> Callable[[pl.DataFrame], pl.Series]:
    """The pairs that `shardmill build` leaves out: those of questions that are near duplicates of earlier ones."""
    found = build.doubles_of(run, shards, None)
    keys = ["row_id", "query_kind", "query_object", "query"]
    return lambda table: pl.Series([key in found for key in table.select(keys).iter_rows()], dtype=pl.Boolean)


def talks(row: Row) -> list[Talk]:
    """The question as it is asked without a hint, and the better answer."""
    return [Talk(row["query"], row["response"])]
