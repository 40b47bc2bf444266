"""Prompt templates: files with a YAML header and a Jinja body.

    ---
    task: extract_objects          # what is asked, for engines that do not read prose
    version: 1
    system: |                      # the instructions, the same for every row
      ...
    bundles:                       # a few fixed sets of examples; a row's seed picks one
      - - {values: {caption: a ferry at the pier}, answer: {objects: [ferry, pier]}}
    sampling: {temperature: 0.0, max_tokens: 96}
    ---
    Caption: {{ caption | tojson }}

The chat is system, example turns, then the body with the row's values: all that is the same comes first and all that differs
comes last, so that a prefix cache pays for the instructions once. Values are data: they are never parsed as templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

import jinja2
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.models.contract import Sampling
from shardmill.store.cells import dump_cell
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_text

ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False, autoescape=False)
ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
ENVIRONMENT.filters["tojson"] = dump_cell  # Jinja's own escapes < and & for HTML, which no language model needs


class PromptExample(BaseModel):
    """One few-shot turn: the values of the body and the answer."""

    model_config = ConfigDict(extra="forbid")
    values: dict[str, Any]
    answer: dict[str, Any]


class SamplingHeader(BaseModel):
    """See `models.contract.Sampling`."""

    model_config = ConfigDict(extra="forbid")
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


class PromptHeader(BaseModel):
    """The header of a template file."""

    model_config = ConfigDict(extra="forbid")
    task: str
    version: int
    system: str
    bundles: list[list[PromptExample]] = []
    sampling: SamplingHeader = SamplingHeader()


@dataclass(frozen=True)
class Template:
    """A parsed template file. `digest` covers its whole text."""

    name: str
    header: PromptHeader
    body: jinja2.Template
    digest: str
    prefixes: list[list[dict[str, str]]] = field(repr=False)

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.header.sampling.model_dump())


@lru_cache(maxsize=64)
def load_template(name: str) -> Template:
    """The template `templates/<name>.md`. Raises UserError for an unknown or malformed one."""
    text = resource_text(f"templates/{name}.md")
    marker, _, rest = text.partition("---\n")
    head, _, body = rest.partition("\n---\n")
    if marker.strip() or not body:
        raise UserError(f"templates/{name}.md has no header between two lines of ---")
    try:
        header = PromptHeader.model_validate(yaml.safe_load(head))
        template = ENVIRONMENT.from_string(body.strip())
        prefixes = [_prefix(header, template, bundle) for bundle in header.bundles or [[]]]
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"templates/{name}.md: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (yaml.YAMLError, jinja2.TemplateError) as error:
        raise UserError(f"templates/{name}.md: {' '.join(str(error).split())}") from error
    return Template(name, header, template, sha256(text.encode()).hexdigest(), prefixes)


def _prefix(header: PromptHeader, body: jinja2.Template, bundle: list[PromptExample]) -> list[dict[str, str]]:
    """Everything of the chat that does not depend on the row."""
    messages = [{"role": "system", "content": header.system.strip()}]
    for example in bundle:
        messages.append({"role": "user", "content": body.render(example.values)})
        messages.append({"role": "assistant", "content": dump_cell(example.answer)})
    return messages


@dataclass(frozen=True)
class Prompt:
    """A template with the values of one row; rendered only when an engine asks for the messages."""

    template: Template
    values: Mapping[str, Any]

    @property
    def task(self) -> str:
        return self.template.header.task

    def messages(self, seed: int) -> list[dict[str, str]]:
        """The chat; the seed picks the bundle of examples."""
        prefixes = self.template.prefixes
        return [*prefixes[seed % len(prefixes)], {"role": "user", "content": self.template.body.render(self.values)}]
