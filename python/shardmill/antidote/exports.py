"""The tables that an Antidote run exports, and its prompts beside the templates."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from shardmill.antidote import build
from shardmill.antidote.ask_descriptions import WORDINGS
from shardmill.export.prompts import InstalledPrompt, installed_file
from shardmill.export.tables import ExportTable, QuestionAnswer, Row
from shardmill.store.image_columns import GENERATED_IMAGE
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder

PICTURES, QUERIES, PAIRS = "check_facts", build.QUERIES, build.PAIRS
BOXES = ("detections", "verified_present")


def export_tables(run: RunFolder) -> list[ExportTable]:
    """Preference pairs, images with their verified objects, and questions."""
    return [
        ExportTable(
            "pairs", "preference pairs of answers", (PAIRS,), GENERATED_IMAGE,
            conversation=conversation, pair=build.pair_of, near_duplicates=near_duplicates,
        ),
        ExportTable(
            "pictures", "generated images with their verified objects", (PICTURES,), GENERATED_IMAGE,
            texts=pl.concat_list("verified_caption"), boxes=BOXES,
        ),
        ExportTable("queries", "all questions about an image", (QUERIES,), GENERATED_IMAGE, boxes=BOXES),
    ]  # fmt: skip


def near_duplicates(run: RunFolder, shards: list[int]) -> Callable[[pl.DataFrame], pl.Series]:
    """The pairs that `shardmill build` leaves out too: those of questions that are near duplicates of earlier ones."""
    found = build.near_duplicate_keys(run, shards, None)
    keys = ["row_id", "query_kind", "query_object", "query"]
    return lambda frame: pl.Series([key in found for key in frame.select(keys).iter_rows()], dtype=pl.Boolean)


def conversation(row: Row) -> list[QuestionAnswer]:
    """The question without a hint, and the better answer."""
    return [QuestionAnswer(row["query"], row["response"])]


def prompts(stage: StagePlan) -> dict[str, InstalledPrompt]:
    """The wordings that questions for a description are drawn from."""
    return {"wordings": installed_file(WORDINGS)} if "wordings" in stage.fingerprint else {}
