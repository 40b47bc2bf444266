"""Pipeline files: which stages a pipeline has, in which order, with which model, options and resources."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.core.model_files import WORKER_FIELDS, ModelFile, find_model, mapping_of
from shardmill.core.stage import PIPELINES, Context, Stage, make_stage, stage_class
from shardmill.store.cells import Kind
from shardmill.store.plan import Price, Resources, StagePlan
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_path
from shardmill.util.yaml_text import read_yaml


class StageEntry(BaseModel):
    """One stage in a pipeline file. `after` is the stage that it reads from: by default the one above it, at first ingest."""

    model_config = ConfigDict(extra="forbid")
    stage: str
    after: str | None = None
    model: str | dict[str, Any] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    attempts: int = Field(default=3, ge=1)
    resources: Resources = Resources()
    price: Price | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)

    def with_model(self, model: str | dict[str, Any]) -> StageEntry:
        """The entry with another model. What a worker needed for the old one, and what that cost, goes with it."""
        kept = self.resources.model_dump(exclude_unset=True, exclude=set(WORKER_FIELDS))
        return self.model_copy(
            update={"model": model, "resources": Resources.model_validate(kept), "price": None, "thresholds": {}}
        )


class PipelineFile(BaseModel):
    """A pipeline file; see `slurm/pipelines/`."""

    model_config = ConfigDict(extra="forbid")
    pipeline: str
    stages: list[StageEntry]


def load_pipeline(name: str) -> PipelineFile:
    """A pipeline by name (`negbench`) or by the path of a file of your own. Raises UserError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else None
    if path is None:
        if name not in PIPELINES:
            raise UserError(f"there is no pipeline {name!r}; {did_you_mean(name, PIPELINES)}")
        path = resource_path(f"slurm/pipelines/{name}.yaml")
    try:
        return PipelineFile.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"there is no pipeline file {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def override(pipeline: PipelineFile, settings: Sequence[str]) -> PipelineFile:
    """The pipeline with settings: `STAGE.OPTION=VALUE`, `STAGE.model=KIND`, `STAGE.model.SETTING=VALUE`, `STAGE.attempts=N`.

    Values are read as YAML. Raises UserError for an unknown stage or a setting without a value; options are checked later.
    """
    changed = pipeline.model_copy(deep=True)
    entries = {entry.stage: entry for entry in changed.stages}
    for setting in settings:
        target, found, text = setting.partition("=")
        stage, dot, key = target.partition(".")
        if not (found and dot and key):
            raise UserError(f"--set {setting!r} is not of the form STAGE.OPTION=VALUE")
        if stage not in entries:
            raise UserError(f"--set {setting!r}: the pipeline has no stage {stage!r}; {did_you_mean(stage, entries)}")
        try:
            value = read_yaml(text)
        except yaml.YAMLError:
            raise UserError(f"--set {setting!r}: {text!r} is not YAML; put it in quotes") from None
        entry = entries[stage]
        if key == "model":
            entries[stage] = entry.with_model(value)
        elif key == "attempts":
            entry.attempts = value
        elif key.startswith("model."):
            entry.model = {**mapping_of(entry.model), key.removeprefix("model."): value}
        else:
            entry.options[key] = value
        try:
            StageEntry.model_validate(entries[stage].model_dump(warnings=False))
        except ValidationError as error:
            raise UserError(f"--set {setting!r}: {error.errors()[0]['msg']}") from error
    changed.stages = [entries[entry.stage] for entry in changed.stages]
    return changed


def plan_stages(
    pipeline: PipelineFile, columns: Mapping[str, Kind], context: Context, given: Collection[str] | None = None
) -> list[StagePlan]:
    """The stages of a run, each checked and with its fingerprint. `given` are the `columns` that the input really has.

    Raises UserError for an unknown stage, option or model, a column that no earlier stage has, or one that two stages add.
    """
    available: dict[str, dict[str, Kind]] = {"ingest": dict(columns)}
    planned: list[StagePlan] = []
    made: list[Stage] = []
    thresholds: dict[str, float] = {}
    previous = "ingest"
    for entry in pipeline.stages:
        if entry.stage in available:
            raise UserError(f"stage {entry.stage} is in the pipeline twice; take one out")
        kind = stage_class(f"{pipeline.pipeline}.{entry.stage}")
        file = find_model(entry.model, kind.role) if kind.role else ModelFile(role="", spec={})
        own = entry.thresholds or file.thresholds.model_dump(exclude_none=True)
        thresholds.update(own)
        defaults = {name: value for name, value in thresholds.items() if name in kind.Options.model_fields}
        stage = make_stage(f"{pipeline.pipeline}.{entry.stage}", {**defaults, **entry.options}, context)
        stage.check_place(made, columns if given is None else given)
        made.append(stage)
        after = entry.after or previous
        if after not in available:
            raise UserError(
                f"stage {entry.stage} reads from {after!r}, which is no stage before it; {did_you_mean(after, available)}"
            )
        if stage.role is None and entry.model is not None:
            raise UserError(f"stage {entry.stage} asks no model; leave out its `model:`")
        spec = file.spec
        if stage.role and not spec:
            raise UserError(f"stage {entry.stage} needs a {stage.role} model; name one as `model:` in the pipeline file")
        for column in stage.reads:
            if column not in available[after]:
                raise UserError(
                    f"stage {entry.stage} reads the column {column!r}, which {after} has not; "
                    f"{did_you_mean(column, available[after])}"
                )
        adds = stage.columns()
        clash = sorted(adds.keys() & available[after].keys())
        if clash:
            raise UserError(
                f"stage {entry.stage} adds the column {clash[0]!r}, which {after} has already; rename it in the input"
            )
        planned.append(
            StagePlan(
                name=entry.stage,
                after=after,
                model=spec,
                options=stage.options.model_dump(mode="json"),
                attempts=entry.attempts,
                resources=Resources.model_validate({**file.resources, **entry.resources.model_dump(exclude_unset=True)}),
                price=entry.price or file.price,
                thresholds=own,
                adds=adds,
                fingerprint=stage.fingerprint(spec),
            )
        )
        available[entry.stage] = {**available[after], **adds}
        previous = entry.stage
    return planned
