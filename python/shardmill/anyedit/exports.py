"""The tables that an AnyEdit run exports, by the stages that its pipeline file has, and its prompts beside the templates."""

from __future__ import annotations

import polars as pl

from shardmill.anyedit import pix2pix_export, tool_export
from shardmill.anyedit.by_template.words import WORDS
from shardmill.anyedit.implicit_edits import SEEDS
from shardmill.anyedit.instruction_answers import ANSWERS
from shardmill.anyedit.instruction_prompts import prompts_digest, template_name
from shardmill.core.prompts import load_template
from shardmill.export.prompts import InstalledPrompt, installed_file
from shardmill.export.tables import ExportTable
from shardmill.store.image_columns import EDITED_IMAGE, GENERATED_IMAGE, INPUT_IMAGE
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder

BOXES = ("detections", "input_objects")
FORMATS = {"instructpix2pix": pix2pix_export.FORMAT, "anyedit-tools": tool_export.FORMAT}
"""Formats that only these tables fit."""
EDITED = "check_edits"


def export_tables(run: RunFolder) -> list[ExportTable]:
    """Edit instructions, captions with their images, chains of edits, implicit edits, and concepts."""
    found = []
    if EDITED in run.stages:
        text = pl.concat_list("output")
        found.append(ExportTable("edits", "edits with the images before and after", (EDITED,), EDITED_IMAGE, texts=text))
    for stage in ("judge_instructions", "write_instructions"):
        if stage in run.stages:
            found.append(ExportTable("instructions", "edit instructions", (stage,), image_column_of(run, stage)))
            break
    for stage in ("ground_objects", "select_captions"):
        if stage in run.stages:
            boxes = BOXES if stage == "ground_objects" else None
            found.append(
                ExportTable(
                    "captions", "captions that edits start from", (stage,), image_column_of(run, stage),
                    texts=pl.concat_list("input"), boxes=boxes,
                )
            )  # fmt: skip
            break
    return [
        *found,
        ExportTable("chains", "chains of edits", ("chain_instructions",), image_column_of(run, "chain_instructions")),
        ExportTable("implicit", "implicit edits", ("write_implicit",)),
        ExportTable("concepts", "concepts with their backgrounds", ("propose_backgrounds",)),
    ]


def image_column_of(run: RunFolder, stage: str) -> str | None:
    """The column of the images of a stage that the run has."""
    if stage not in run.stages:
        return None
    return GENERATED_IMAGE if GENERATED_IMAGE in run.kinds(stage) else INPUT_IMAGE


def prompts(stage: StagePlan) -> dict[str, InstalledPrompt]:
    """The prompts of all edit types as one, and the files of words and examples that stages draw from."""
    found = {}
    if "template words" in stage.fingerprint:
        templates = {kind: load_template(template_name(kind)) for kind in ANSWERS}
        files = {f"instructions/{kind}.md": template.text for kind, template in templates.items()}
        found = {"template": InstalledPrompt(prompts_digest()["template"], files), "template words": installed_file(WORDS)}
    if "examples" in stage.fingerprint:
        found["examples"] = installed_file(SEEDS)
    return found
