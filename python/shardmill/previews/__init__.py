"""What a run would do, before there is one: a pipeline, or one stage of it, over a few rows."""

from __future__ import annotations

from shardmill.previews.frames import preview
from shardmill.previews.run import PreviewedRow, PreviewStep, preview_run, preview_stage
from shardmill.previews.tracing import Exchange

__all__ = ["Exchange", "PreviewStep", "PreviewedRow", "preview", "preview_run", "preview_stage"]
