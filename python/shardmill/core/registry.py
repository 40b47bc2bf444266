"""Pipelines and stages by name or reference. Nothing here knows which there are.

A pipeline is a subpackage of Shardmill with a module `pipeline` that defines PIPELINE, an entry point of the group
`shardmill.pipelines`, or a reference to a Pipeline of the user's (`module:OBJECT`, `file.py:OBJECT`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardmill.core.pipeline import Pipeline
from shardmill.core.user_code import allow_code, describe, is_module, is_reference, load_code, name_of, recall_code, where
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import PACKAGE, resource_names
from shardmill.util.safe_files import is_plain_name
from shardmill.util.texts import use_texts

if TYPE_CHECKING:
    import click

    from shardmill.core.stage import Context, Stage
    from shardmill.store.run_folder import RunFolder

GROUP = "shardmill.pipelines"
LABEL = "-"
"""Between the name of a stage and its label, where a pipeline has the stage several times."""


def resolve(value: Any) -> Any:
    """An object that a Pipeline names, imported if it is a reference of the installed environment."""
    if not (isinstance(value, str) and is_reference(value)):
        return value
    module, _, name = value.rpartition(":")
    return getattr(import_module(module), name)


@cache
def bundled_pipelines() -> tuple[str, ...]:
    """The names of the pipelines that come with Shardmill."""
    return tuple(sorted(path.parent.name for path in PACKAGE.glob("*/pipeline.py") if path.parent.name != "core"))


@cache
def installed_pipelines() -> dict[str, EntryPoint]:
    """The pipelines of other installed packages, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def pipeline_names() -> list[str]:
    """All pipelines that can be named without saying where they are."""
    return sorted({*bundled_pipelines(), *installed_pipelines()})


def default_pipeline() -> str:
    """The pipeline that commands use where none is named."""
    return next((name for name in bundled_pipelines() if find_pipeline(name).default), bundled_pipelines()[0])


@cache
def _bundled(name: str) -> Pipeline:
    found: Pipeline = import_module(f"shardmill.{name}.pipeline").PIPELINE
    return found


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of a name or of an allowed reference.

    Raises:
        UserError: If there is none, or if the reference leads to something else.
    """
    if name in bundled_pipelines():
        return _bundled(name)
    if name in installed_pipelines():
        return _checked(_loaded_entry(installed_pipelines()[name]), name)
    if is_reference(name):
        return _checked(load_code(name), name)
    raise UserError(
        f"there is no pipeline {name!r}; {did_you_mean(name, {*pipeline_names(), *resource_names('slurm/pipelines')})}"
    )


def _loaded_entry(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise UserError(
            f"the installed pipeline {entry.name} ({entry.value}) failed at {where(error)}: {describe(error)}"
        ) from error


def _checked(found: Any, name: str) -> Pipeline:
    if not isinstance(found, Pipeline):
        raise UserError(f"{name} is a {type(found).__name__}, not a Pipeline; name the object made by shardmill.Pipeline(...)")
    if not is_plain_name(found.name):
        raise UserError(f"{name} is named {found.name!r}; a pipeline's name has letters, digits, underscores and hyphens only")
    names = [_name_of(each, name) for each in found.stages]
    doubled = sorted({each for each in names if names.count(each) > 1})
    if doubled:
        raise UserError(f"the pipeline {found.name} has two stages named {doubled[0]!r}; rename one")
    return found


def load_commands(name: str) -> list[click.Command]:
    """The commands that a pipeline brings.

    Raises:
        UserError: If the pipeline, or a command that it names, cannot be loaded.
    """
    found = []
    for reference in find_pipeline(name).commands:
        try:
            found.append(resolve(reference))
        except Exception as error:
            raise UserError(
                f"the command {reference} of the pipeline {name} failed at {where(error)}: {describe(error)}"
            ) from error
    return found


def pipeline_of(run: RunFolder) -> Pipeline:
    """The pipeline of a run; one with defaults for everything, if its code is not named by the user's command."""
    plan = run.plan
    recall_code(run.path)
    use_texts(plan.texts)
    source = plan.source or plan.pipeline
    try:
        return find_pipeline(source)
    except UserError:
        return Pipeline(plan.pipeline, stages=())


def split_stage(text: str, source: str, base: Path | None = None) -> tuple[str, str]:
    """A stage as a pipeline file names it: where it is from, and its name in a run.

    Args:
        text: `extract_objects`, `caption_images-qwen`, `otherpipeline.stage`, `module:Class` or `file.py:Class`, with or without
            a label.
        source: Where a stage without a source of its own is from.
        base: The folder that relative paths start from.

    Returns:
        (source, name), such as `("otherpipeline", "stage-label")` or `("mine:CountColours", "count_colours")`.
    """
    head, dash, label = _split_label(text)
    if is_reference(head):
        allowed = allow_code(head, base)
        found = load_code(allowed)
        if not _is_stage(found):
            raise UserError(f"{head} is not a stage: it must be a subclass of TextStage or another stage class, with a name")
        return allowed, f"{found.name}{dash}{label}"
    other, dot, short = head.rpartition(".")
    return (other, f"{short}{dash}{label}") if dot else (source, text)


def _split_label(text: str) -> tuple[str, str, str]:
    module, colon, name = text.rpartition(":")
    short, dash, label = name.partition(LABEL)
    if dash and not re.fullmatch(r"[a-z0-9_]{1,40}", label):
        raise UserError(f"{text}: the label behind the hyphen must be lower-case letters, digits and underscores")
    return f"{module}{colon}{short}", dash, label


def stage_class(source: str, name: Any) -> type[Stage]:
    """The class of a stage.

    Args:
        source: The pipeline that has it (a name or an allowed reference), or an allowed reference to the class itself.
        name: Its name in the run, with its label if it has one; or what a Pipeline lists: a class or the reference of one.

    Raises:
        UserError: With a hint, if there is no such stage.
    """
    if not isinstance(name, str):
        if not _is_stage(name):
            raise UserError(f"{source}: {name!r} in its stages is not a stage class with a name")
        found: type[Stage] = name
        return found
    if is_reference(name):
        return stage_class(source, resolve(name))
    short = _split_label(name)[0]
    if is_reference(source) and _is_stage(kind := load_code(source)):
        return stage_class(source, kind)
    pipeline = find_pipeline(source)
    for each in pipeline.stages:
        if _name_of(each, source) == short:
            return stage_class(source, each)
    known = [_name_of(each, source) for each in pipeline.stages]
    raise UserError(f"the pipeline {pipeline.name} has no stage {short!r}; {did_you_mean(short, known)}")


def _name_of(stage: Any, source: str) -> str:
    """The name of a listed stage; for a bundled one it is part of the reference, so nothing is imported."""
    if isinstance(stage, str) and is_reference(stage) and stage.startswith("shardmill."):
        return stage.partition(":")[0].rpartition(".")[2]
    return stage_class(source, stage).name


def _is_stage(found: Any) -> bool:
    from shardmill.core.stage import Stage

    return isinstance(found, type) and issubclass(found, Stage) and isinstance(getattr(found, "name", None), str)


def make_stage(source: str, name: str, options: Mapping[str, Any], context: Context, prompt: str | None = None) -> Stage:
    """A stage with its options, and a prompt of the user's if given. Raises UserError for what there is not."""
    from dataclasses import replace

    kind = stage_class(source, name)
    context = replace(context, label=_split_label(name)[2], prompt=prompt)
    try:
        return kind(options, context)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"stage {name} could not be made at {where(error)}: {describe(error)}") from error


def pipeline_reference(text: str, base: Path | None = None) -> str:
    """What a user typed for a pipeline, as a plan records it: a name, or an allowed reference."""
    if is_reference(text):
        return allow_code(text, base)
    if ":" in text and not is_module(text):
        raise UserError(f"{text!r} is not a reference to a pipeline; write module:OBJECT or path/to/file.py:OBJECT")
    return text


__all__ = [
    "bundled_pipelines", "default_pipeline", "find_pipeline", "load_commands", "make_stage", "name_of", "pipeline_names",
    "pipeline_of", "pipeline_reference", "resolve", "split_stage", "stage_class",
]  # fmt: skip
