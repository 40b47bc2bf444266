"""Prompt templates: a text in Jinja, with or without a YAML header.

    ---
    task: extract_objects          # what is asked, for engines that do not read prose; the stage's name if left out
    system: |                      # the instructions, the same for every row
      ...
    bundles:                       # a few fixed sets of examples; a row's seed picks one
      - - {values: {caption: a ferry at the pier}, answer: {objects: [ferry, pier]}}
    sampling: {temperature: 0.0, max_tokens: 96}
    ---
    Caption: {{ caption | tojson }}

The chat is the system message, the example turns, then the body with the row's values: all that is the same comes first and
all that differs comes last, so that a prefix cache pays for the instructions once. Values are data: they are never parsed as
templates. A text without a header is the body; without `system`, a system message describes the JSON to answer with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.models.contract import Sampling
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_text
from shardmill.util.texts import cached


def _to_json(value: Any) -> str:
    """The filter `tojson`. Jinja's own escapes < and & for HTML, which no language model needs."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises UndefinedError, which names the variable
    return as_json(value)


def as_json(value: Any) -> str:
    """JSON as most texts have it, with a blank behind each comma and colon, for examples and values.

    Without the blanks small models have to go on with tokens that they have rarely seen: SmolLM2-135M, greedy, left the list of
    objects empty for 22 of 36 prompts, and with them for none.
    """
    return json.dumps(value, ensure_ascii=False)


ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False, autoescape=False)
ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
ENVIRONMENT.filters["tojson"] = _to_json


PROMPT_FILES = (".md", ".txt", ".j2", ".jinja")


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
    task: str = ""
    system: str = ""
    bundles: list[list[PromptExample]] = []
    sampling: SamplingHeader = SamplingHeader()


@dataclass(frozen=True)
class Template:
    """A parsed template. `digest` covers its `text` and how examples are written, `variables` are the names that it reads."""

    name: str
    header: PromptHeader
    body: jinja2.Template
    digest: str
    prefixes: list[list[dict[str, str]]] = field(repr=False)
    variables: frozenset[str] = frozenset()
    text: str = field(default="", repr=False)

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.header.sampling.model_dump())


@cached
def load_template(name: str) -> Template:
    """The template `templates/<name>.md` that comes with the product. Raises UserError for an unknown or malformed one."""
    return parse_template(resource_text(f"templates/{name}.md"), f"templates/{name}.md", name=name)


def is_prompt_file(prompt: str) -> bool:
    """Whether a prompt is the name of a file; otherwise it is the text itself."""
    return "\n" not in prompt and "{{" not in prompt and prompt.endswith(PROMPT_FILES)


def read_prompt(path: Path) -> str:
    """The text of a prompt file of the user's. Raises UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"the prompt file {path} was not found") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompt file {path} cannot be read: {error}") from None


def parse_template(text: str, where: str, *, name: str, task: str = "", system: str = "") -> Template:
    """A template from its text.

    Args:
        text: The template.
        where: Its file or stage, for messages.
        name: What rows made with it call it.
        task: The task if its header names none.
        system: The system message if its header has none.

    Raises:
        UserError: If the header or the Jinja text is malformed.
    """
    head, body = _split_header(text, where)
    try:
        header = PromptHeader.model_validate(yaml.safe_load(head) or {})
        header = header.model_copy(update={"task": header.task or task, "system": header.system or system})
        template = ENVIRONMENT.from_string(body.strip())
        prefixes = [_prefix(header, template, bundle) for bundle in header.bundles or [[]]]
        variables = frozenset(meta.find_undeclared_variables(ENVIRONMENT.parse(body)))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except jinja2.TemplateSyntaxError as error:
        line = (error.lineno or 1) + text[: text.index(body)].count("\n")
        raise UserError(f"{where}, line {line}: {' '.join(str(error.message).split())}") from error
    except (yaml.YAMLError, jinja2.TemplateError, TypeError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error
    digest = sha256(json.dumps([text, prefixes]).encode()).hexdigest()
    return Template(name, header, template, digest, prefixes, variables, text)


def _split_header(text: str, where: str) -> tuple[str, str]:
    if not text.startswith("---"):
        return "", _not_empty(text, where)
    marker, _, rest = text.partition("---\n")
    head, _, body = rest.partition("\n---\n")
    if marker.strip() or not body:
        raise UserError(f"{where}: the header does not end; put a line of --- below it, and the prompt below that")
    return head, _not_empty(body, where)


def _not_empty(body: str, where: str) -> str:
    if not body.strip():
        raise UserError(f"{where}: the prompt is empty")
    return body


def _prefix(header: PromptHeader, body: jinja2.Template, bundle: list[PromptExample]) -> list[dict[str, str]]:
    """Everything of the chat that does not depend on the row."""
    messages = [{"role": "system", "content": header.system.strip()}] if header.system.strip() else []
    for example in bundle:
        messages.append({"role": "user", "content": body.render(example.values)})
        messages.append({"role": "assistant", "content": as_json(example.answer)})
    return messages


@dataclass(frozen=True)
class Prompt:
    """A template with the values of one row; rendered only when an engine asks for the messages."""

    template: Template
    values: Mapping[str, Any]

    @property
    def task(self) -> str:
        return self.template.header.task

    def bundle(self, seed: int) -> int:
        """Which set of examples the seed picks."""
        return seed % len(self.template.prefixes)

    def messages(self, seed: int) -> list[dict[str, str]]:
        """The chat; the seed picks the bundle of examples."""
        return [*self.template.prefixes[self.bundle(seed)], {"role": "user", "content": self.template.body.render(self.values)}]
