"""A preview for notebooks: rows of a pandas or Polars frame, or of a file, through a pipeline or one stage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.pipeline import Pipeline
from shardmill.core.planning import NewRun
from shardmill.core.registry import pipeline_names
from shardmill.core.stage import Stage
from shardmill.core.user_code import allow_object, is_reference
from shardmill.previews.run import PreviewedRow, preview_run, preview_stage
from shardmill.tables.data_frames import as_polars
from shardmill.util.resources import resource_names

Source = Any
"""A pandas or Polars frame, or the path of a table."""


def preview(
    target: str | Pipeline | type[Stage],
    source: Source,
    rows: int = 8,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[PreviewedRow]:
    """Show what a pipeline or a stage does with a few rows. Nothing is left on disk.

    Args:
        target: A pipeline (an object, a name, a pipeline file, or a reference such as `colours.py:PIPELINE`), a stage of one
            (`pipeline.stage`), or a stage class, which reads its columns from `source`.
        source: A frame, or the path of a table. Relative image paths start from the current folder, or from the table's.
        rows: How many rows: drawn ones for a pipeline, the first ones for a stage.
        model: The model of the stage, or of all stages of its role.
        options: Options of the stage; of a pipeline by `STAGE.OPTION`.

    Returns:
        The rows, each with its steps: what was sent to the model, the raw answers, and what became of the row.

    Raises:
        UserError: as a real run would.
    """
    pipeline, stage = _resolve_target(target)
    prefix = f"{stage}." if stage else ""
    settings = [f"{prefix}{name}={json.dumps(value)}" for name, value in (options or {}).items()]
    if model is not None and stage is not None:
        settings.append(f"{stage}.model={json.dumps(model)}")
    models = (model,) if model is not None and stage is None else ()
    with tempfile.TemporaryDirectory(prefix="shardmill-frame-") as folder:
        table = _as_table(source, Path(folder))
        new = NewRun(pipeline=pipeline, settings=settings, models=models, **table)
        if stage is not None:
            return preview_stage(stage, new, rows)
        with preview_run(new, rows) as (_, found):
            return found


def _resolve_target(target: str | Pipeline | type[Stage]) -> tuple[str, str | None]:
    """The pipeline as a run names it, and the stage of it that is meant, if it is one."""
    if isinstance(target, Pipeline):
        return _allow_pipeline(target), None
    if isinstance(target, type):
        return _allow_pipeline(Pipeline(target.name, stages=[target])), target.name
    known = {*pipeline_names(), *resource_names("slurm/pipelines")}
    pipeline, dot, stage = target.partition(".")
    if target in known or not dot or pipeline not in known or is_reference(target):
        return target, None
    return pipeline, stage


def _allow_pipeline(pipeline: Pipeline) -> str:
    return allow_object(pipeline, f"in_process.{pipeline.name}:PIPELINE")


def _as_table(source: Source, folder: Path) -> dict[str, Any]:
    """The options of a run by which it reads the source."""
    if isinstance(source, str | Path):
        return {"input": Path(source)}
    frame, _ = as_polars(source)
    path = folder / "frame.jsonl"
    frame.write_ndjson(path)
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return {"input": path, "list_columns": lists, "image_root": Path.cwd()}
