"""Shardmill turns tables of images and captions into vision-language training data, shard by shard, and loses no row.

What a stage, a pipeline or a notebook needs is here; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from shardmill.api import Run, StageFrames, open_run, run_stage
    from shardmill.core.model_stages import CaptionStage, DetectStage, EditStage, GenerateStage, ScoreStage, TextStage
    from shardmill.core.pipeline import Pipeline
    from shardmill.core.stage import Answer, Context, FittedStage, FollowUp, ModelCall, Options, Reject, Row, RowStage  # isort: skip
    from shardmill.core.stage import Stage, TableStage
    from shardmill.export.tables import ExportTable, QuestionAnswer, TextSlots
    from shardmill.models.contract import Model, Reply, Sampling, Usage
    from shardmill.previews.frames import preview
    from shardmill.quality.rules import QualityRule
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.errors import UserError

_HOMES = {
    "shardmill.api": ("Run", "StageFrames", "open_run", "run_stage"),
    "shardmill.core.model_stages": ("CaptionStage", "DetectStage", "EditStage", "GenerateStage", "ScoreStage", "TextStage"),
    "shardmill.core.pipeline": ("Pipeline",),
    "shardmill.core.stage": (
        "Answer", "Context", "FittedStage", "FollowUp", "ModelCall", "Options", "Reject", "Row", "RowStage", "Stage",
        "TableStage",
    ),
    "shardmill.export.tables": ("ExportTable", "QuestionAnswer", "TextSlots"),
    "shardmill.previews.frames": ("preview",),
    "shardmill.quality.rules": ("QualityRule",),
    "shardmill.models.contract": ("Model", "Reply", "Sampling", "Usage"),
    "shardmill.store.run_folder": ("RunFolder",),
    "shardmill.util.errors": ("UserError",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer", "CaptionStage", "Context", "DetectStage", "EditStage", "ExportTable", "FittedStage", "FollowUp", "GenerateStage",
    "Model", "ModelCall", "Options", "Pipeline", "QualityRule", "QuestionAnswer", "Reject", "Reply", "Row", "RowStage", "Run",
    "RunFolder", "Sampling", "ScoreStage", "Stage", "StageFrames", "TableStage", "TextSlots", "TextStage", "Usage", "UserError",
    "open_run", "preview", "run_stage",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'shardmill' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
