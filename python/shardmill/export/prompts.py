"""The prompts that a run was made with: their texts, where what is installed is still what the run's fingerprints name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from shardmill.store.plan import StagePlan
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path

ANYWHERE = {
    "negbench": "extract_objects.md",
    "antidote": "parse_captions.md",
    "recaption": "perspectives.yaml",
    "anyedit": "write_captions.md",
}
"""A file of each pipeline's templates, by which their folder is found."""
FIELDS = ("template", "wordings", "examples", "template words", "perspectives")
"""The fields of a fingerprint that are digests of prompts."""


@dataclass(frozen=True)
class PromptFile:
    """A prompt of a stage by its digest; the name and text of its files, none where they have changed since."""

    stage: str
    field: str
    digest: str
    files: dict[str, str]


def prompts_of(pipeline: str, stage: StagePlan) -> list[PromptFile]:
    """All prompts of a stage."""
    found = []
    for field in FIELDS:
        digest = stage.fingerprint.get(field)
        if digest is not None:
            found.append(PromptFile(stage.name, field, digest, _texts(pipeline, field, digest, stage)))
    return found


def _texts(pipeline: str, field: str, digest: str, stage: StagePlan) -> dict[str, str]:
    texts = _templates(pipeline)
    alone = {name: text for name, text in texts.items() if sha256(text.encode()).hexdigest() == digest}
    if alone:
        return alone
    if field == "perspectives":
        return {"perspectives.yaml": texts["perspectives.yaml"]} if _as_installed(digest, stage) else {}
    if pipeline == "anyedit":
        from shardmill.anyedit.instruction_prompts import prompts_digest

        if prompts_digest()["template"] == digest:
            return {name: text for name, text in texts.items() if name.startswith("instructions/")}
    return {}


def _as_installed(digest: str, stage: StagePlan) -> bool:
    """Whether a recaption stage asks for perspectives just as the installed file has them."""
    from shardmill.recaption.perspectives import digest_of, perspectives

    known = perspectives()
    names = stage.options.get("perspectives") or list(known)
    return digest in {digest_of(known[name] for name in names if name in known), digest_of(known.values())}


@cache
def _templates(pipeline: str) -> dict[str, str]:
    """The template files of a pipeline by their path in its folder."""
    try:
        folder = resource_path(f"templates/{pipeline}/{ANYWHERE[pipeline]}").parent
    except (KeyError, UserError):
        return {}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".yaml"))
    return {Path(path).relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}
