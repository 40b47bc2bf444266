"""What recaptioned rows state: that each good caption fits its image, and that some of them name no object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import polars as pl

from shardmill.audit.statements import AuditOutput, AuditRow, Row, Statement, text_views
from shardmill.recaption.names import ORIGINAL, column_of, text_name
from shardmill.recaption.perspectives import Perspective, perspectives
from shardmill.store.run_folder import RunFolder

CHECKED = pl.List(pl.Struct({"captioner": pl.String, "fault": pl.String}))


def audit_outputs(run: RunFolder) -> list[AuditOutput]:
    """The captions of each captioner. The multi-text lines hold no others."""
    if "check_captions" not in run.stages:
        return []
    options = run.stage("check_captions").options
    asked = perspectives(options.get("perspectives_file"))
    return [_output_of(captioner, asked) for captioner in options["captioners"]]


def _output_of(captioner: str, asked: Mapping[str, Perspective]) -> AuditOutput:
    label = column_of(captioner)
    good = pl.col("checked").str.json_decode(CHECKED).list.eval(
        (pl.element().struct.field("captioner") == captioner) & pl.element().struct.field("fault").is_null()
    )  # fmt: skip
    stratum = pl.when(good.list.any()).then(pl.lit(label))
    return AuditOutput(label, "check_captions", "image", stratum, partial(show_captions, captioner, asked))


def show_captions(captioner: str, asked: Mapping[str, Perspective], row: Row) -> AuditRow:
    """For each good caption of a captioner that it fits, and that it names no object where its perspective forbids one."""
    statements = []
    for each in row["checked"]:
        if each["captioner"] == captioner and each["fault"] is None:
            name, perspective = text_name(captioner, each["perspective"]), asked.get(each["perspective"])
            statements.append(Statement(f"{name} fits", f"This fits the image: {each['text']}"))
            if perspective is not None and perspective.forbids is not None:
                thing = "the main object" if perspective.forbids == "main object" else "an object"
                text = f"This does not name {thing} of the image: {each['text']}"
                statements.append(Statement(f"{name} names no object", text))
    return AuditRow(statements, text_views({ORIGINAL: row.get("caption")}))
