"""The perspectives that an image is described from; see `templates/recaption/perspectives.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shardmill.core.model_stages import whole_sentences
from shardmill.store.cells import dump_cell
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_text
from shardmill.util.texts import cached, text_of
from shardmill.util.yaml_text import read_yaml

READY = "templates/recaption/perspectives.yaml"
ITEM_END = re.compile(r"[,;]")
WORDS_A_TOKEN = 0.6
"""English words that a token is worth, on the safe side: an answer asked to be that short fits."""


class Perspective(BaseModel):
    """What is asked about an image from one perspective, and what the answer must not do."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    prompt: str = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    max_tiles: int | None = Field(default=None, ge=1)
    form: Literal["sentences", "items", "phrase"] = "sentences"
    forbids: Literal["objects", "main object"] | None = None

    @property
    def prompt_id(self) -> str:
        """Tells apart all that shapes an answer: the wording and its limits."""
        return sha256(dump_cell([self.prompt, self.max_tokens, self.max_tiles, self.form]).encode()).hexdigest()[:12]

    @property
    def shorter(self) -> str:
        """The prompt for an answer that was too long."""
        return f"{self.prompt} Use at most {max(3, int(self.max_tokens * WORDS_A_TOKEN))} words."

    @property
    def whole(self) -> Callable[[str], str | None]:
        """What can be used of an answer that was cut off."""
        return {"sentences": whole_sentences, "items": whole_items, "phrase": _nothing}[self.form]


def whole_items(text: str) -> str | None:
    """The items of a list that was cut off somewhere; None if not one is whole."""
    ends = [found.start() for found in ITEM_END.finditer(text)]
    return text[: ends[-1]].strip() or None if ends else None


def _nothing(text: str) -> str | None:
    return None


@cached
def perspectives(file: str | None = None) -> dict[str, Perspective]:
    """The ready perspectives by name, in the order of their file, and those of a `file` of one's own, which come first.

    Raises UserError for a file that cannot be read.
    """
    ready = _parse(resource_text(READY), READY)
    own = _read(Path(file).expanduser()) if file else {}
    return {**own, **{name: each for name, each in ready.items() if name not in own}}


def _read(path: Path) -> dict[str, Perspective]:
    try:
        return _parse(text_of(str(path.absolute()), lambda: path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise UserError(f"perspectives {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"perspectives {path} is not YAML: {error}") from error


def _parse(text: str, path: str) -> dict[str, Perspective]:
    try:
        entries = TypeAdapter(list[Perspective]).validate_python(read_yaml(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"perspectives {path}: entry {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except yaml.YAMLError as error:
        raise UserError(f"perspectives {path} is not YAML: {' '.join(str(error).split())}") from error
    found = {each.name: each for each in entries}
    if len(found) < len(entries):
        raise UserError(f"perspectives {path}: a name comes twice among {', '.join(each.name for each in entries)}")
    return found


def find_perspectives(names: Sequence[str], file: str | None = None) -> list[Perspective]:
    """The perspectives of these names, in their order. Raises UserError for an unknown name or one that comes twice."""
    known = perspectives(file)
    for name in names:
        if name not in known:
            own = f"nor is it in the perspectives_file {file}" if file else "write it into a YAML file, set as perspectives_file"
            raise UserError(f"there is no bundled perspective {name!r}, {own}; {did_you_mean(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"a perspective is named twice: {', '.join(names)}")
    return [known[name] for name in names]


def digest_of(asked: Iterable[Perspective]) -> str:
    """A digest of all that perspectives say."""
    return sha256(dump_cell([each.model_dump() for each in asked]).encode()).hexdigest()
