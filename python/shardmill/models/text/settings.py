"""What all text engines are told about their model, and what of it shapes the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.errors import UserError, did_you_mean
from shardmill.models.contract import Sampling, TextRequest
from shardmill.models.weights import weights_digest

Settings = TypeVar("Settings", bound="TextSettings")


class SamplingOverride(BaseModel):
    """Sampling values that a model needs otherwise than the template says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)


class TextSettings(BaseModel):
    """The settings of a text model, as they stand in a model file. Those in `shaping` are part of a stage's fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    shaping: ClassVar[tuple[str, ...]] = ("model", "revision", "sampling", "system_role", "chat_template_kwargs")
    loaded: ClassVar[bool] = True
    """The worker loads the model itself; else its name is all that is known of it."""

    model: str = Field(description="a folder, or an id on the Hugging Face hub")
    revision: str | None = Field(default=None, description="commit, tag or branch on the hub; only a commit pins the weights")
    sampling: SamplingOverride = Field(SamplingOverride(), description="sampling values that this model needs otherwise")
    system_role: bool = Field(True, description="false for models whose chat template knows no system role")
    chat_template_kwargs: dict[str, Any] = Field({}, description="for the chat template, e.g. enable_thinking: false")

    def identity(self) -> dict[str, str]:
        """What of the settings shapes the answers, as text by field; what was left at its default is left out.

        Of weights in a folder also a digest: a revision says which ones they are only for those from the hub.
        """
        fields = type(self).model_fields
        shaped = {name: getattr(self, name) for name in self.shaping if getattr(self, name) != fields[name].default}
        plain = self.model_dump(mode="json", include=set(shaped), exclude_none=True)
        found = {name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in plain.items()}
        folder = Path(self.model).expanduser()
        return {**found, "weights": weights_digest(folder)} if self.loaded and folder.is_dir() else found

    def sampling_of(self, request: TextRequest) -> Sampling:
        """The sampling of a request with this model's overrides."""
        return replace(request.sampling, **self.sampling.model_dump(exclude_none=True))

    def messages_of(self, request: TextRequest) -> list[dict[str, str]]:
        """The chat of a request, the system text put before the first user turn for a model that knows no system role."""
        messages = request.chat.messages(request.seed)
        if self.system_role or not messages or messages[0]["role"] != "system":
            return messages
        system, first, *rest = messages
        return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]

    def prompt_of(self, request: TextRequest, tokenizer: Any) -> list[int]:
        """The token ids of a request's chat by the chat template of a Hugging Face tokenizer. Raises UserError if that fails."""
        messages = self.messages_of(request)
        try:
            ids = tokenizer.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True, return_dict=False, **self.chat_template_kwargs
            )
        except Exception as error:  # a chat template is the model's own program and may raise anything
            hint = "; does it know a system role? if not, set system_role: false" if self.system_role else ""
            raise UserError(f"the chat template of {self.model} fails: {error}{hint}") from error
        return list(ids)


def read_settings(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings as a checked object. Raises UserError naming the first that is unknown or wrong."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UserError(f"the model has no setting {name!r}; {did_you_mean(name, kind.model_fields)}") from None
        if first["type"] == "missing":
            raise UserError(f"the model needs the setting {name!r}: {kind.model_fields[name].description}") from None
        raise UserError(f"setting {name} of the model: {first['msg']}") from None


def choices_of(schema: Mapping[str, Any]) -> list[str]:
    """The words of a schema that is a choice between words; none for any other."""
    words = schema.get("enum", [])
    return list(words) if "properties" not in schema and all(isinstance(word, str) for word in words) else []


def require_model(model: str) -> None:
    """Raises UserError for a model that is meant to be a folder and is none, before anything heavy is loaded."""
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not (Path(model).expanduser() / "config.json").is_file():
        raise UserError(f"there is no model in the folder {model} (it has no config.json)")
