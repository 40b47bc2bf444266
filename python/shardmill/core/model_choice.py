"""Models chosen on the command line: for all stages of a role, loaded by workers or asked of servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shardmill.core.model_files import allow_model, find_model, load_model_file
from shardmill.core.pipeline_file import PipelineFile, StageEntry
from shardmill.core.user_code import load_code
from shardmill.models.registry import DEFAULT_MODELS
from shardmill.util.errors import UserError

SERVED_SETTINGS = ("model", "revision", "sampling", "system_role", "chat_template_kwargs")
SERVED_IMAGE_SETTINGS = ("max_pixels", "square", "max_tiles")
INTERNVL_TILE = 448
"""The side of a tile in pixels, of the models that have the setting `max_tiles` in vLLM."""


def use_models(pipeline: PipelineFile, models: Sequence[str], servers: Path | None = None) -> PipelineFile:
    """The pipeline with each of `models` (model files, or references to classes of the user's) in all stages of its role.

    With `servers`, the folder in which servers announce themselves, vLLM models (language models and captioners) are called there
    instead of loaded by workers.
    Raises UserError for a model that no stage uses.
    """
    changed = pipeline.model_copy(deep=True)
    for name in models:
        model = allow_model(name, Path.cwd()) or name
        role = _role_of(model, name)
        uses = [entry for entry in changed.stages if entry.kind.role == role]
        if not uses:
            raise UserError(f"no stage of {pipeline.pipeline} uses a {role} model such as {name}")
        changed.stages = [entry.with_model(model) if entry in uses else entry for entry in changed.stages]
    if servers is not None:
        changed.stages = [_served_by(servers, entry) for entry in changed.stages]
        if not any(isinstance(entry.model, dict) and "servers" in entry.model for entry in changed.stages):
            raise UserError("--servers: no stage has a vLLM model that servers could load; name one with --model")
    return changed


def _role_of(model: str | dict[str, Any], name: str) -> str:
    """The role of a model file, or of a class of the user's, which says it in its attribute `role`."""
    if isinstance(model, str):
        return load_model_file(model).role
    role = getattr(load_code(str(model["kind"])), "role", None)
    if role not in DEFAULT_MODELS:
        raise UserError(f"{name} does not say which kind of model it is; give it a class attribute: role = 'text'")
    return str(role)


def _served_by(servers: Path, entry: StageEntry) -> StageEntry:
    """The entry with its vLLM model called over HTTP instead of loaded."""
    role = entry.kind.role
    if role not in ("text", "caption") or entry.model is None:
        return entry
    file = find_model(entry.model, role)
    if file.spec.get("kind") != "vllm":
        return entry
    names = SERVED_SETTINGS if role == "text" else (*SERVED_SETTINGS, *SERVED_IMAGE_SETTINGS)
    kept = {name: file.spec[name] for name in names if name in file.spec}
    if "max_tiles" in kept:
        kept["tile_size"] = INTERNVL_TILE
    asking = entry.with_model({"kind": "openai", "servers": str(servers.resolve()), **kept})
    requests = entry.requests or file.requests.model_dump(exclude_none=True)
    return asking.model_copy(update={"price": entry.price or file.price, "requests": requests})
