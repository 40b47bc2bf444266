"""What an AnyEdit run has to export. Its stages differ by the pipeline file: what a run lacks is not offered."""

from __future__ import annotations

import polars as pl

from shardmill.anyedit.images import GENERATED
from shardmill.export.offer import Offer
from shardmill.store.run_folder import RunFolder

BOXES = ("detections", "input_objects")


def offers(run: RunFolder) -> list[Offer]:
    """Edit instructions, captions with their pictures, chains of edits, implicit edits, and concepts."""
    found = []
    for stage in ("judge_instructions", "write_instructions"):
        if stage in run.stages:
            found.append(Offer("instructions", "edit instructions", (stage,), picture_of(run, stage)))
            break
    for stage in ("ground_objects", "select_captions"):
        if stage in run.stages:
            boxes = BOXES if stage == "ground_objects" else None
            found.append(
                Offer(
                    "captions", "captions that edits start from", (stage,), picture_of(run, stage),
                    texts=pl.concat_list("input"), boxes=boxes,
                )
            )  # fmt: skip
            break
    return [
        *found,
        Offer("chains", "edits that follow on one another", ("chain_instructions",), picture_of(run, "chain_instructions")),
        Offer("implicit", "edits that are only implied", ("write_implicit",)),
        Offer("concepts", "concepts with their backgrounds", ("propose_backgrounds",)),
    ]


def picture_of(run: RunFolder, stage: str) -> str | None:
    """The column of the pictures, if the run has any."""
    if stage not in run.stages:
        return None
    return GENERATED if GENERATED in run.kinds(stage) else "image"
