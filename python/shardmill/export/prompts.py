"""The prompts that a run was made with: their texts, if what is installed is still what the run's fingerprints name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from shardmill.core.model_stages import TextStage
from shardmill.core.prompts import is_prompt_file
from shardmill.core.registry import pipeline_of, resolve
from shardmill.core.shard_runner import open_stage
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_text

TEMPLATE = "template"
"""The field of a fingerprint with the digest of a text stage's prompt."""


class InstalledPrompt(NamedTuple):
    """A prompt as it is installed now: the digest that it has in a fingerprint, and its files with their texts."""

    digest: str
    files: Mapping[str, str]


InstalledPrompts = Callable[[StagePlan], Mapping[str, InstalledPrompt]]
"""What a pipeline's `prompts` is: the prompts of a stage by the field of its fingerprint, beside or instead of its template."""


@dataclass(frozen=True)
class PromptFile:
    """A prompt of a stage by its digest; the names and texts of its files, none if they were changed since."""

    stage: str
    field: str
    digest: str
    files: Mapping[str, str]


def installed_file(path: str) -> InstalledPrompt:
    """A prompt that is one file of the product, such as `templates/PIPELINE/wordings.yaml`."""
    text = resource_text(path)
    return InstalledPrompt(sha256(text.encode()).hexdigest(), {Path(path).name: text})


def prompts_of(run: RunFolder, stage: str) -> list[PromptFile]:
    """All prompts of a stage."""
    planned = run.stage(stage)
    listed: InstalledPrompts | None = resolve(pipeline_of(run).prompts)
    installed = dict(listed(planned)) if listed else {}
    if TEMPLATE in planned.fingerprint and TEMPLATE not in installed:
        installed |= _templates_of(run, stage)
    found = []
    for field, prompt in installed.items():
        digest = planned.fingerprint.get(field)
        if digest is not None:
            found.append(PromptFile(stage, field, digest, prompt.files if digest == prompt.digest else {}))
    return found


def _templates_of(run: RunFolder, stage: str) -> dict[str, InstalledPrompt]:
    """The templates of a text stage; without files if its code is not installed or was not named by the command."""
    unknown = {TEMPLATE: InstalledPrompt("", {})}
    try:
        opened = open_stage(run, stage)
        if not isinstance(opened, TextStage):
            return unknown
        own_file = run.stage(stage).prompt is None and is_prompt_file(opened.prompt)
        name = Path(opened.prompt).name if own_file else f"{stage}.md"
        found = {TEMPLATE: InstalledPrompt(opened.template.digest, {name: opened.template.text})}
        for field, template in opened.more_templates.items():
            found[field] = InstalledPrompt(template.digest, {f"{Path(template.name).name}.md": template.text})
    except UserError:
        return unknown
    return found
