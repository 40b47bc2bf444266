"""Model files: a model by a short name, with its settings, what a worker of it needs, and what it costs; see `slurm/models/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.core.user_code import allow_code, is_reference
from shardmill.models.registry import ROLES, known_kinds
from shardmill.store.plan import Price
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_names, resource_path
from shardmill.util.yaml_text import read_yaml

WORKER_FIELDS = ("gpus_per_worker", "cpus_per_worker", "memory_gb", "shards_per_task")
"""The resources that belong to a model; the others belong to a stage."""


class Thresholds(BaseModel):
    """Scores from which on an object counts as there, and below which it counts as absent, by a detector's measure."""

    model_config = ConfigDict(extra="forbid")
    present_above: float | None = Field(default=None, ge=0, le=1)
    absent_below: float | None = Field(default=None, ge=0, le=1)


class RequestDefaults(BaseModel):
    """How much a text model can be asked for in one request: options of stages, see `list_stage`."""

    model_config = ConfigDict(extra="forbid")
    together: bool | None = None
    proposals: bool | None = None


class ModelFile(BaseModel):
    """A model file. `spec` is the model's kind and its settings, `resources` those of a worker that loads it.

    `thresholds` are defaults for options of a stage that asks this model, by their names: scores of different detectors mean
    different things. So are `requests`: not every model can write lists.
    """

    model_config = ConfigDict(extra="forbid")
    role: str
    spec: dict[str, Any]
    resources: dict[str, float] = Field(default_factory=dict)
    price: Price | None = None
    thresholds: Thresholds = Thresholds()
    requests: RequestDefaults = RequestDefaults()


def load_model_file(name: str) -> ModelFile:
    """A model by name (`llama-3.1-8b`) or by the path of a file of your own. Raises UserError."""
    own = name.endswith((".yaml", ".yml"))
    path = Path(name) if own else resource_path(f"slurm/models/{name}.yaml")
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no model file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a model file: it has no role, kind and settings")
    try:
        file = ModelFile(
            role=content.pop("role", ""),
            resources=content.pop("resources", {}),
            price=content.pop("price", None),
            thresholds=content.pop("thresholds", {}),
            requests=content.pop("requests", {}),
            spec=content,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if file.role not in ROLES:
        raise UserError(f"{path}: there is no role {file.role!r}; {did_you_mean(file.role, ROLES)}")
    kind, kinds = file.spec.get("kind"), known_kinds(file.role)
    if own and is_reference(str(kind)):
        file.spec["kind"] = allow_code(str(kind), path.parent)
    elif kind not in kinds:
        raise UserError(f"{path}: there is no {file.role} model of kind {kind!r}; {did_you_mean(str(kind), kinds)}")
    unknown = sorted(file.resources.keys() - set(WORKER_FIELDS))
    if unknown:
        raise UserError(f"{path}: resources has no {unknown[0]!r}; a model needs {', '.join(WORKER_FIELDS)}")
    return file


def find_model(model: str | dict[str, Any] | None, role: str) -> ModelFile:
    """What a pipeline file calls a model: a bare kind (`rules`), a model file's name, or a mapping.

    A mapping has a kind and settings, or `file`, a model file's name, and settings that differ from it. Raises UserError.
    """
    if model is None or model == {}:
        return ModelFile(role=role, spec={})
    kinds = known_kinds(role)
    given = {"kind": model} if isinstance(model, str) and model in kinds else model
    if isinstance(given, str):
        known = [*kinds, *resource_names("slurm/models")]
        if not given.endswith((".yaml", ".yml")) and given not in known:
            raise UserError(f"there is no {role} model {given!r}; {did_you_mean(given, known)}")
        given = {"file": given}
    name = given.get("file")
    if name is None:
        return ModelFile(role=role, spec=dict(given))
    file = load_model_file(str(name))
    if file.role != role:
        raise UserError(f"{name} is a {file.role} model; this stage needs a {role} model")
    changes = {key: value for key, value in given.items() if key != "file"}
    return file.model_copy(update={"spec": {**file.spec, **changes}})


def allow_model(model: str | dict[str, Any] | None, base: Path) -> str | dict[str, Any] | None:
    """What a user calls a model; a reference to a class of the user's becomes loadable, and is put as plans write it.

    Args:
        model: A kind, a model file, a mapping, or the reference of a class: `mypkg.models:Mine`, `mine.py:Mine`.
        base: The folder that relative paths start from.
    """
    if isinstance(model, str) and is_reference(model):
        return {"kind": allow_code(model, base)}
    if isinstance(model, dict) and is_reference(str(model.get("kind", ""))):
        return {**model, "kind": allow_code(str(model["kind"]), base)}
    return model


def mapping_of(model: str | dict[str, Any] | None) -> dict[str, Any]:
    """The same model as a mapping, for a setting to be added."""
    if isinstance(model, str):
        return {"kind" if any(model in known_kinds(role) for role in ROLES) else "file": model}
    return dict(model or {})
