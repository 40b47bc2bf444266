"""The perspectives that an image is described from; see `templates/recaption/perspectives.yaml`."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shardmill.errors import UserError, did_you_mean
from shardmill.resources import resource_path


class Perspective(BaseModel):
    """What is asked about an image from one perspective."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    prompt: str
    max_tokens: int = Field(ge=1)

    @property
    def prompt_id(self) -> str:
        """Tells wordings of a prompt apart."""
        return sha256(self.prompt.encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def perspectives() -> dict[str, Perspective]:
    """All perspectives by name, in the order of the file."""
    content = yaml.safe_load(resource_path("templates/recaption/perspectives.yaml").read_text(encoding="utf-8"))
    return {each.name: each for each in TypeAdapter(list[Perspective]).validate_python(content)}


def find_perspectives(names: list[str]) -> list[Perspective]:
    """The perspectives of these names, in their order. Raises UserError for an unknown name or one that comes twice."""
    known = perspectives()
    for name in names:
        if name not in known:
            raise UserError(f"there is no perspective {name!r}; {did_you_mean(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"a perspective is named twice: {', '.join(names)}")
    return [known[name] for name in names]
