"""Models by role and kind. A model's module, and with it any heavy import, is loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from shardmill.models.contract import Model
from shardmill.util.errors import UserError, did_you_mean

MODELS = {
    ("text", "rules"): "shardmill.embedded.rules.engine:RulesModel",
    ("text", "vllm"): "shardmill.models.text.vllm:VllmModel",
    ("text", "openai"): "shardmill.models.text.openai:OpenAIModel",
    ("text", "transformers"): "shardmill.models.text.transformers:TransformersModel",
    ("detect", "scene"): "shardmill.embedded.scene.detector:SceneDetector",
    ("detect", "owlvit"): "shardmill.models.detect.owl:OwlDetector",
    ("detect", "owlv2"): "shardmill.models.detect.owl:OwlDetector",
    ("detect", "grounding-dino"): "shardmill.models.detect.grounding_dino:GroundingDinoDetector",
    ("detect", "groundingdino"): "shardmill.models.detect.groundingdino_py:GroundingDinoPyDetector",
    ("generate", "scene"): "shardmill.embedded.scene.generator:SceneGenerator",
    ("generate", "diffusers"): "shardmill.models.generate.diffusers:DiffusersGenerator",
    ("caption", "scene"): "shardmill.embedded.scene.captioner:SceneCaptioner",
    ("caption", "transformers"): "shardmill.models.caption.transformers:TransformersCaptioner",
    ("caption", "vllm"): "shardmill.models.caption.vllm:VllmCaptioner",
    ("caption", "minigpt4"): "shardmill.models.caption.minigpt4:MiniGpt4Captioner",
    ("score", "scene"): "shardmill.embedded.scene.scorer:SceneScorer",
    ("score", "clip"): "shardmill.models.score.clip:ClipScorer",
}


DEFAULT_MODELS = {"text": "rules", "detect": "scene", "generate": "scene", "caption": "scene", "score": "scene"}
"""The model of each role that needs no weights: for pipelines that name none."""

_load_code: list[Callable[[str], Any]] = []


def set_code_loader(load: Callable[[str], Any]) -> None:
    """Say how a class of the user's, `module:NAME`, is found; models know nothing of who may name one."""
    _load_code[:] = [load]


def known_kinds(role: str) -> set[str]:
    """The kinds of models that a role has."""
    return {kind for other, kind in MODELS if other == role}


def model_class(role: str, spec: Mapping[str, Any]) -> Any:
    """The class of the model that `spec` (its `kind` and settings) names. Raises UserError for an unknown kind.

    A model class is built from its settings as keywords and has `identity(**settings)`: what of it shapes its answers, as text
    by field, found without loading anything heavy.
    """
    kind = str(spec.get("kind", ""))
    known = known_kinds(role)
    if ":" in kind and _load_code:
        return _load_code[0](kind)
    if kind not in known:
        raise UserError(f"there is no {role} model of kind {kind!r}; {did_you_mean(kind, known)}")
    module, _, name = MODELS[role, kind].partition(":")
    return getattr(import_module(module), name)


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "kind"}


def open_model(role: str, spec: Mapping[str, Any]) -> Model:
    """Load a model. Raises UserError for settings that it does not have."""
    factory = model_class(role, spec)
    try:
        model: Model = factory(**_settings(spec))
    except (TypeError, ValueError) as error:
        raise UserError(f"{role} model {spec.get('kind')!r}: {error}") from error
    return model


def model_identity(role: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """What of a model shapes its answers; part of a stage's fingerprint."""
    try:
        kind = model_class(role, spec)
        own = (
            kind.identity(**_settings(spec)) if hasattr(kind, "identity") else {"settings": repr(sorted(_settings(spec).items()))}
        )
        return {"kind": str(spec["kind"]), **own}
    except (TypeError, ValueError) as error:
        raise UserError(f"{role} model {spec.get('kind')!r}: {error}") from error
