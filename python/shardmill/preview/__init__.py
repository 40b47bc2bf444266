"""Looking at what a run would do, before there is one: a stage, or a whole pipeline, over a few rows."""

from __future__ import annotations

from shardmill.preview.one_stage import PreviewedRow, preview
from shardmill.preview.tracing import Exchange
from shardmill.preview.whole_run import PreviewedLife, PreviewStep, preview_run

__all__ = ["Exchange", "PreviewStep", "PreviewedLife", "PreviewedRow", "preview", "preview_run"]
