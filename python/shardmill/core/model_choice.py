"""Models chosen on the command line: for all stages of a role, loaded by workers or asked of servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardmill.core.model_files import find_model, load_model_file
from shardmill.core.pipeline_file import PipelineFile, StageEntry
from shardmill.core.stage import stage_class
from shardmill.util.errors import UserError

SERVED_SETTINGS = ("model", "revision", "sampling", "system_role", "chat_template_kwargs")


def use_models(pipeline: PipelineFile, models: Sequence[str], servers: Path | None = None) -> PipelineFile:
    """The pipeline with each of `models` (model files) in all stages of its role.

    With `servers`, the folder in which servers announce themselves, vLLM models are asked there instead of loaded by workers.
    Raises UserError for a model that no stage has a use for.
    """
    changed = pipeline.model_copy(deep=True)
    for name in models:
        role = load_model_file(name).role
        uses = [entry for entry in changed.stages if _role(changed, entry) == role]
        if not uses:
            raise UserError(f"no stage of {pipeline.pipeline} asks a {role} model such as {name}")
        changed.stages = [entry.with_model(name) if entry in uses else entry for entry in changed.stages]
    if servers is not None:
        changed.stages = [_asked_of(servers, entry, _role(changed, entry)) for entry in changed.stages]
        if not any(isinstance(entry.model, dict) and "servers" in entry.model for entry in changed.stages):
            raise UserError("--servers: no stage has a vLLM model that servers could hold; name one with --model")
    return changed


def _role(pipeline: PipelineFile, entry: StageEntry) -> str | None:
    return stage_class(f"{pipeline.pipeline}.{entry.stage}").role


def _asked_of(servers: Path, entry: StageEntry, role: str | None) -> StageEntry:
    if role != "text" or entry.model is None:
        return entry
    file = find_model(entry.model, role)
    if file.spec.get("kind") != "vllm":
        return entry
    kept = {name: file.spec[name] for name in SERVED_SETTINGS if name in file.spec}
    asking = entry.with_model({"kind": "openai", "servers": str(servers.resolve()), **kept})
    return asking.model_copy(update={"price": entry.price or file.price})
