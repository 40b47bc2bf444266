"""Which models made the data of a run, and which of them only stand in for real ones."""

from __future__ import annotations

from shardmill.models.registry import is_embedded
from shardmill.quality.model import ModelUse
from shardmill.store.run_folder import RunFolder


def model_uses(run: RunFolder) -> list[ModelUse]:
    """The models of a run in the order in which its stages first call them."""
    stages: dict[tuple[str, str, bool], list[str]] = {}
    for stage in run.plan.stages:
        if stage.role and stage.model:
            kind = str(stage.model.get("kind", ""))
            weights = stage.model.get("model")
            name = f"{weights} ({kind})" if weights else kind
            stages.setdefault((name, stage.role, is_embedded(stage.role, kind)), []).append(stage.name)
    return [ModelUse(name=name, role=role, embedded=embedded, stages=own) for (name, role, embedded), own in stages.items()]


def embedded_note(models: list[ModelUse]) -> str:
    """That embedded models made the data, and what that means; empty if none did."""
    embedded = list(dict.fromkeys(each.name for each in models if each.embedded))
    if not embedded:
        return ""
    if len(embedded) == 1:
        names = f"the embedded model {embedded[0]}, which needs no weights and only stands in for a real model"
    else:
        names = f"the embedded models {' and '.join(embedded)}, which need no weights and only stand in for real models"
    what = "This run" if all(each.embedded for each in models) else "Part of this run"
    return f"{what} was made by {names}: good for trying a pipeline, not for data to train on."
