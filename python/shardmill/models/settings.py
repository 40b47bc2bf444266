"""The settings of a model with weights, as its model file has them, and which of them shape its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shardmill.models.contract import Model
from shardmill.models.weights import COMMIT, cached_commit, is_hub_name, weights_digest
from shardmill.util.errors import UserError, did_you_mean

Settings = TypeVar("Settings", bound="ModelSettings")


class ModelSettings(BaseModel):
    """The settings of a model. Those in `shaping` are part of a stage's fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    shaping: ClassVar[tuple[str, ...]] = ("model", "revision")
    loaded: ClassVar[bool] = True
    """The worker loads the model itself; else its name is all that is known of it."""

    model: str = Field(description="a folder, or an id on the Hugging Face hub")
    revision: str | None = Field(default=None, description="commit, tag or branch on the hub; only a commit pins the weights")

    def identity(self) -> dict[str, str]:
        """What of the settings shapes the results, as text by field; what was left at its default is left out.

        Of weights in a folder also a digest: a revision says which ones they are only for those from the hub. Those that no
        commit pins are named as `unpinned`: they may be replaced under the same name.
        """
        fields = type(self).model_fields
        shaped = {name: getattr(self, name) for name in self.shaping if getattr(self, name) != fields[name].default}
        plain = self.model_dump(mode="json", include=set(shaped), exclude_none=True)
        found = {name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in plain.items()}
        folder = Path(self.model).expanduser()
        if self.loaded and folder.is_dir():
            found["weights"] = weights_digest(folder)
        unpinned = [name for name, revision in self.hub_models().items() if not COMMIT.fullmatch(revision or "")]
        return {**found, "unpinned": ", ".join(unpinned)} if unpinned else found

    def hub_options(self) -> dict[str, Any]:
        """Which weights to load, as arguments of a `from_pretrained` of transformers. Code that comes with them is not run."""
        return {"revision": self.revision, "trust_remote_code": False}

    def hub_models(self) -> dict[str, str | None]:
        """The models that come from the hub, or from a server, each with its revision."""
        return {self.model: self.revision} if is_hub_name(self.model) else {}

    def loaded_commits(self) -> dict[str, str]:
        """The commits of the hub's models that were loaded, by name, as far as the local cache knows them."""
        found = {name: cached_commit(name, revision) for name, revision in self.hub_models().items()} if self.loaded else {}
        return {name: commit for name, commit in found.items() if commit}


class RemoteCodeSettings(ModelSettings):
    """Settings of a model whose weights may come with Python code. It is run only if the user says so, for one commit of it."""

    trust_remote_code: bool = Field(
        False, description="run the Python code that comes with the weights; needs a commit as `revision`, or a folder"
    )

    def hub_options(self) -> dict[str, Any]:
        """As for any model; code that comes with the weights is run if the user says so."""
        return {**super().hub_options(), "trust_remote_code": self.trust_remote_code}

    @model_validator(mode="after")
    def _check_remote_code(self) -> RemoteCodeSettings:
        if self.trust_remote_code and not COMMIT.fullmatch(self.revision or "") and not Path(self.model).expanduser().is_dir():
            raise ValueError(
                "trust_remote_code runs code from the hub; name the commit that you trust (40 hex digits) as `revision`"
            )
        return self


class SettingsModel(Model):
    """A model whose settings are the pydantic class `Settings`."""

    Settings: ClassVar[type[ModelSettings]]

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        return read_settings(cls.Settings, settings).identity()

    @classmethod
    def loaded_commits(cls, **settings: Any) -> dict[str, str]:
        return read_settings(cls.Settings, settings).loaded_commits()


def read_settings(settings: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings as a checked object. Raises UserError naming the first that is unknown or wrong."""
    try:
        return settings.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UserError(f"the model has no setting {name!r}; {did_you_mean(name, settings.model_fields)}") from None
        if first["type"] == "missing":
            raise UserError(f"the model needs the setting {name!r}: {settings.model_fields[name].description}") from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"setting {name} of the model: {message}" if name else f"the model: {message}") from None


def require_model(model: str, file: str = "config.json") -> None:
    """Raises UserError for a path that is not a folder with a model in it, before anything heavy is loaded."""
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not (Path(model).expanduser() / file).is_file():
        raise UserError(f"there is no model in the folder {model} (it has no {file})")
