"""Models by role and kind. A model's module, and with it any heavy import, is loaded only when it is asked for.

A kind is a name of the table below, one that an installed package offers (entry-point group `shardmill.models`, with names such
as `text.mykind`), or a reference to a class of one's own, `module:Class`; see `core.user_code` for who may name one.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shardmill.models.contract import Model
from shardmill.util.errors import ModelDied, UserError, did_you_mean

ROLES = ("text", "detect", "generate", "edit", "caption", "score")
ENTRY_POINTS = "shardmill.models"
DEFAULT_MODELS = {"text": "rules", **dict.fromkeys(ROLES[1:], "scene")}
"""By role, the kind that needs neither weights nor a GPU: for stages that no model is named for."""
MODELS = {
    ("text", "rules"): "shardmill.embedded.rules.engine:RulesModel",
    ("text", "vllm"): "shardmill.models.text.vllm:VllmModel",
    ("text", "openai"): "shardmill.models.text.openai:OpenAIModel",
    ("text", "transformers"): "shardmill.models.text.transformers:TransformersModel",
    ("detect", "scene"): "shardmill.embedded.scene.detector:SceneDetector",
    ("detect", "openai"): "shardmill.models.detect.openai:OpenAIDetector",
    ("detect", "owlvit"): "shardmill.models.detect.owl:OwlDetector",
    ("detect", "owlv2"): "shardmill.models.detect.owl:OwlDetector",
    ("detect", "grounding-dino"): "shardmill.models.detect.grounding_dino:GroundingDinoDetector",
    ("detect", "groundingdino"): "shardmill.models.detect.groundingdino_py:GroundingDinoPyDetector",
    ("generate", "scene"): "shardmill.embedded.scene.generator:SceneGenerator",
    ("generate", "diffusers"): "shardmill.models.generate.diffusers:DiffusersGenerator",
    ("edit", "scene"): "shardmill.embedded.scene.editor:SceneEditor",
    ("edit", "diffusers"): "shardmill.models.edit.diffusers:DiffusersEditor",
    ("caption", "scene"): "shardmill.embedded.scene.captioner:SceneCaptioner",
    ("caption", "openai"): "shardmill.models.caption.openai:OpenAICaptioner",
    ("caption", "transformers"): "shardmill.models.caption.transformers:TransformersCaptioner",
    ("caption", "vllm"): "shardmill.models.caption.vllm:VllmCaptioner",
    ("caption", "minigpt4"): "shardmill.models.caption.minigpt4:MiniGpt4Captioner",
    ("score", "scene"): "shardmill.embedded.scene.scorer:SceneScorer",
    ("score", "openai"): "shardmill.models.score.openai:OpenAIScorer",
    ("score", "clip"): "shardmill.models.score.clip:ClipScorer",
}

_load_code: list[Callable[[str], Any]] = []


def set_code_loader(load: Callable[[str], Any]) -> None:
    """Say how the class of a reference is found: what code a process may load is not for models to decide."""
    _load_code[:] = [load]


def known_kinds(role: str) -> set[str]:
    """The kinds of models that a role has."""
    return {kind for other, kind in (*MODELS, *_installed()) if other == role}


def is_embedded(role: str, kind: str) -> bool:
    """Whether a model is one of those that need no weights and only stand in for real ones."""
    return DEFAULT_MODELS.get(role) == kind


def model_class(role: str, spec: Mapping[str, Any]) -> type[Model]:
    """The class of a model.

    Args:
        role: One of ROLES.
        spec: The model's `kind` and settings.

    Raises:
        UserError: If there is no such kind, or if a reference leads to something that is not a subclass of Model.
    """
    kind = str(spec.get("kind", ""))
    if (role, kind) in MODELS:
        module, _, name = MODELS[role, kind].partition(":")
        found: type[Model] = getattr(import_module(module), name)
        return found
    if (role, kind) in _installed():
        return _checked(role, kind, _loaded(role, kind, _installed()[role, kind]))
    if ":" in kind and _load_code:
        return _checked(role, kind, _load_code[0](kind))
    raise UserError(f"there is no {role} model of kind {kind!r}; {did_you_mean(kind, known_kinds(role))}")


def open_model(role: str, spec: Mapping[str, Any]) -> Model:
    """Load a model. Raises UserError for settings that it does not have, and for whatever a constructor of the user's raises."""
    model = model_class(role, spec)
    try:
        return model(**_settings(spec, model))
    except (UserError, ModelDied):
        raise
    except Exception as error:
        if (role, spec.get("kind")) in MODELS and not isinstance(error, (TypeError, ValueError)):
            raise
        raise UserError(_problem(role, spec, model, error)) from error


def model_identity(role: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """What of a model's settings shapes its answers, as text by field; part of a stage's fingerprint."""
    model = model_class(role, spec)
    try:
        return {"kind": str(spec["kind"]), **model.identity(**_settings(spec, model))}
    except (TypeError, ValueError) as error:
        raise UserError(_problem(role, spec, model, error)) from error


def loaded_commits(role: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """The commits of the weights that a model of these settings, which is open, has loaded, by name."""
    model = model_class(role, spec)
    return model.loaded_commits(**_settings(spec, model))


def _settings(spec: Mapping[str, Any], model: type[Model]) -> dict[str, Any]:
    """The settings of a model. Raises TypeError for those that its constructor does not take."""
    settings = {key: value for key, value in spec.items() if key != "kind"}
    inspect.signature(model).bind(**settings)
    return settings


@cache
def _installed() -> dict[tuple[str, str], EntryPoint]:
    """The models that installed packages offer, by role and kind."""
    found = {}
    for point in entry_points(group=ENTRY_POINTS):
        role, _, kind = point.name.partition(".")
        found[role, kind] = point
    return found


def _loaded(role: str, kind: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # the code of another package may raise anything
        raise UserError(f"{role} model {kind!r}: {point.value} cannot be loaded: {type(error).__name__}: {error}") from error


def _checked(role: str, kind: str, model: object) -> type[Model]:
    """The object if it is a model class. Raises UserError."""
    if role not in ROLES:
        raise UserError(f"{kind}: there is no role {role!r}; {did_you_mean(role, ROLES)}")
    if not isinstance(model, type) or not issubclass(model, Model):
        raise UserError(f"{kind} is not a model: make it a subclass of shardmill.models.contract.Model")
    if inspect.isabstract(model):
        raise UserError(f"{kind} is not a model yet: it lacks {', '.join(sorted(model.__abstractmethods__))}(self, requests)")
    return model


def _problem(role: str, spec: Mapping[str, Any], model: type[Model], error: Exception) -> str:
    """What a model's class raised, with the file and line of it for a class of the user's own."""
    kind = spec.get("kind")
    if (role, kind) in MODELS:
        return f"{role} model {kind!r}: {error}"
    own = getattr(sys.modules.get(model.__module__), "__file__", "")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    where = f" ({own}, line {frames[-1].lineno})" if frames else f" ({own})"
    return f"{role} model {kind!r}: {type(error).__name__}: {error}{where}"
