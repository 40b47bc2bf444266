"""Pipeline files: which stages a pipeline has, in which order, with which model, options and resources."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.core.model_files import WORKER_FIELDS, ModelFile, allow_model, find_model, mapping_of
from shardmill.core.pipeline import Pipeline
from shardmill.core.prompts import is_prompt_file, read_prompt
from shardmill.core.registry import find_pipeline, make_stage, pipeline_reference, split_stage, stage_class
from shardmill.core.stage import Context, Stage, check_declaration
from shardmill.core.user_code import is_reference
from shardmill.models.registry import DEFAULT_MODELS
from shardmill.store.cells import Kind
from shardmill.store.plan import Price, Resources, StagePlan
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_names, resource_path
from shardmill.util.texts import recorded_texts
from shardmill.util.yaml_text import read_yaml

TABLE_MINUTES = 2
"""What is planned for a shard of a stage without a model, which makes tens of thousands of rows a second."""


class StageEntry(BaseModel):
    """One stage in a pipeline file; see `slurm/pipelines/`.

    Attributes:
        stage: A stage of the file's pipeline, `otherpipeline.stage`, or a reference to a class of the user's (`module:Class`,
            `file.py:Class`), each with a label behind a hyphen where the pipeline has it several times.
        after: The stage that it reads from: by default the one above it, at first ingest.
        prompt: For a text stage, a prompt of the user's: a file (from the folder of the pipeline file) or the text itself.
        source: Where the stage is from, worked out when the file is read.
    """

    model_config = ConfigDict(extra="forbid")
    stage: str
    source: str = ""
    after: str | None = None
    model: str | dict[str, Any] | None = None
    prompt: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    attempts: int = Field(default=3, ge=1, le=1_000_000)
    stop_after: int = Field(default=50, ge=0)
    resources: Resources = Resources()
    price: Price | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    requests: dict[str, bool] = Field(default_factory=dict)

    @property
    def kind(self) -> type[Stage]:
        """The class of the stage."""
        return stage_class(self.source, self.stage)

    def make(self, context: Context, options: Mapping[str, Any] | None = None) -> Stage:
        """The stage, with its own options or these."""
        return make_stage(self.source, self.stage, self.options if options is None else options, context, self.prompt)

    def with_model(self, model: str | dict[str, Any]) -> StageEntry:
        """The entry with another model. What a worker needed for the old one, and what that cost, goes with it."""
        kept = self.resources.model_dump(exclude_unset=True, exclude=set(WORKER_FIELDS))
        return self.model_copy(
            update={"model": model, "resources": Resources.model_validate(kept), "price": None, "thresholds": {}, "requests": {}}
        )


class PipelineFile(BaseModel):
    """A pipeline file; see `slurm/pipelines/`. `source` is the reference of the pipeline, if it has no name of its own."""

    model_config = ConfigDict(extra="forbid")
    pipeline: str
    source: str = ""
    stages: list[StageEntry] = Field(min_length=1)


def load_pipeline(name: str) -> PipelineFile:
    """A pipeline as a user names it.

    Args:
        name: A pipeline, the name of a pipeline file that comes with Shardmill, a pipeline file of the user's
            (`mine.yaml`), or a reference to a Pipeline object (`colours.py:PIPELINE`, `module:OBJECT`).

    Raises:
        UserError: If there is none, or it is malformed.
    """
    if name.endswith((".yaml", ".yml")):
        return _read_file(Path(name))
    if name in resource_names("slurm/pipelines"):
        return _read_file(resource_path(f"slurm/pipelines/{name}.yaml"))
    reference = pipeline_reference(name)
    return _file_of(find_pipeline(reference), reference)


def _file_of(pipeline: Pipeline, reference: str) -> PipelineFile:
    """A pipeline file for a pipeline without one: its stages in their order, with the models that need no weights."""
    entries = []
    for each in pipeline.stages:
        kind = stage_class(reference, each)
        entries.append(StageEntry(stage=kind.name, source=reference, model=DEFAULT_MODELS[kind.role] if kind.role else None))
    if not entries:
        raise UserError(f"the pipeline {pipeline.name} has no stages")
    return PipelineFile(pipeline=pipeline.name, source=reference, stages=entries)


def _read_file(path: Path) -> PipelineFile:
    """A pipeline file. What it refers to is allowed: the user's command names the file."""
    try:
        file = PipelineFile.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"the pipeline file {path} was not found") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    file.source = pipeline_reference(file.pipeline, path.parent)
    if is_reference(file.source):
        file.pipeline = find_pipeline(file.source).name
    for entry in file.stages:
        entry.source, entry.stage = split_stage(entry.stage, file.source, path.parent)
        entry.model = allow_model(entry.model, path.parent)
        if entry.prompt is not None:
            entry.prompt = prompt_text(entry.prompt, path.parent)
    if any(entry.source == file.source for entry in file.stages):
        find_pipeline(file.source)
    return file


def prompt_text(prompt: str, base: Path) -> str:
    """The text of a prompt of the user's: of its file, whose path may start from `base`, or the text itself."""
    return read_prompt(base / prompt) if is_prompt_file(prompt) else prompt


def override(pipeline: PipelineFile, settings: Sequence[str]) -> PipelineFile:
    """The pipeline with settings: `STAGE.OPTION=VALUE`, `STAGE.model=NAME`, `STAGE.model.SETTING=VALUE`, `STAGE.attempts=N`,
    `STAGE.stop_after=N`, `STAGE.prompt=FILE`.

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
            entries[stage] = entry.with_model(allow_model(value, Path.cwd()) or {})
        elif key == "prompt":
            entry.prompt = prompt_text(str(value), Path.cwd())
        elif key == "attempts":
            entry.attempts = value
        elif key == "stop_after":
            entry.stop_after = value
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


def _resources(file: ModelFile, entry: StageEntry) -> Resources:
    """What a worker of a stage is given: as its model's file says, where the pipeline file does not say otherwise."""
    planned = {} if entry.kind.role else {"minutes": TABLE_MINUTES}
    return Resources.model_validate({**planned, **file.resources, **entry.resources.model_dump(exclude_unset=True)})


def plan_stages(
    pipeline: PipelineFile,
    columns: Mapping[str, Kind],
    context: Context,
    given: Collection[str] | None = None,
    texts: dict[str, str] | None = None,
) -> list[StagePlan]:
    """The stages of a run, each checked and with its fingerprint. `given` are the `columns` that the input really has.

    The texts that shape their rows are added to `texts`. Raises UserError for an unknown stage, option or model, a column that no
    earlier stage has, or one that two stages add.
    """
    available: dict[str, dict[str, Kind]] = {"ingest": dict(columns)}
    planned: list[StagePlan] = []
    made: list[Stage] = []
    thresholds: dict[str, float] = {}
    previous = "ingest"
    for entry in pipeline.stages:
        if entry.stage in available:
            raise UserError(f"stage {entry.stage} is in the pipeline twice; remove one, or label it: {entry.stage}-b")
        model = _model_of(entry)
        own = entry.thresholds or model.thresholds.model_dump(exclude_none=True)
        thresholds.update(own)
        requests = entry.requests or model.requests.model_dump(exclude_none=True)
        options_of = entry.kind.Options.model_fields
        defaults = {name: value for name, value in {**thresholds, **requests}.items() if name in options_of}
        options = {**defaults, **entry.options}
        stage = entry.make(context, options)
        check_declaration(stage)
        stage.check_plan(made, columns if given is None else given)
        made.append(stage)
        after = entry.after or previous
        _check_columns(entry, stage, after, available)
        with recorded_texts() as read:
            fingerprint = entry.make(context, options).fingerprint(model.spec)
        if texts is not None:
            texts.update(read)
        planned.append(
            StagePlan(
                name=entry.stage,
                source=entry.source,
                role=stage.role,
                reads=[name for name in stage.reads if name in available[after]],
                after=after,
                prompt=entry.prompt,
                sources=stage.sources(model.spec),
                model=model.spec,
                options=stage.options.model_dump(mode="json"),
                attempts=entry.attempts,
                stop_after=entry.stop_after,
                resources=_resources(model, entry),
                price=entry.price or model.price,
                thresholds=own,
                requests=requests,
                adds=stage.columns(),
                fingerprint=fingerprint,
                texts=sorted(read),
                fit_rows=stage.fit_rows,
            )
        )
        available[entry.stage] = {**available[after], **stage.columns()}
        previous = entry.stage
    return planned


def _model_of(entry: StageEntry) -> ModelFile:
    """The model of a stage; an empty one for a stage that needs none."""
    role = entry.kind.role
    if role is None:
        if entry.model is not None:
            raise UserError(f"stage {entry.stage} uses no model; remove its `model:`")
        return ModelFile(role="", spec={})
    file = find_model(entry.model, role)
    if not file.spec:
        raise UserError(f"stage {entry.stage} needs a {role} model; name one as `model:` in the pipeline file")
    return file


def _check_columns(entry: StageEntry, stage: Stage, after: str, available: Mapping[str, Mapping[str, Kind]]) -> None:
    """Raises UserError unless `after` is an earlier stage that has the columns that `stage` reads, and not those that it adds."""
    if after not in available:
        raise UserError(
            f"stage {entry.stage} reads from {after!r}, which is not a stage before it; {did_you_mean(after, available)}"
        )
    for column in stage.reads:
        if column not in available[after] and column not in stage.optional:
            where = "the input" if after == "ingest" else after
            raise UserError(
                f"stage {entry.stage} reads the column {column!r}, which {where} does not have; "
                f"{did_you_mean(column, available[after])}"
            )
    if clash := sorted(stage.columns().keys() & available[after].keys()):
        raise UserError(f"stage {entry.stage} adds the column {clash[0]!r}, which {after} already has; rename one of the two")
