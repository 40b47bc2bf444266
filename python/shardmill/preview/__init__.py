"""What a run would do, before there is one: a pipeline, or one stage of it, over a few rows."""

from __future__ import annotations

from shardmill.preview.frames import preview_rows
from shardmill.preview.run import PreviewedRow, PreviewStep, preview_run, preview_stage
from shardmill.preview.tracing import Exchange

__all__ = ["Exchange", "PreviewStep", "PreviewedRow", "preview_rows", "preview_run", "preview_stage"]
