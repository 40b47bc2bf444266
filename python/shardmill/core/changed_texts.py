"""What became of the files of prompts and other texts that a run keeps: an edit of one counts for the next run only."""

from __future__ import annotations

from pathlib import Path

from shardmill.store.run_folder import RunFolder
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path
from shardmill.util.safe_files import read_untrusted
from shardmill.util.texts import LEXICON


def changed_texts(run: RunFolder) -> dict[str, str]:
    """The texts of a run whose files say something else now, each with the first stage that it shapes."""
    found = {}
    for stage in run.plan.stages:
        for name in stage.texts:
            if name not in found and name != LEXICON and _text_now(name) != run.plan.texts.get(name):
                found[name] = stage.name
    return found


def _text_now(name: str) -> str | None:
    try:
        path = Path(name) if Path(name).is_absolute() else resource_path(name)
        return read_untrusted(path.resolve()).decode("utf-8")  # the plan names it: it may be a pipe or a device
    except (OSError, UserError, UnicodeDecodeError):
        return None


def notes_on_texts(run: RunFolder) -> list[str]:
    """For people: which files were changed since the run was planned, and how to use them as they are now."""
    by_stage: dict[str, list[str]] = {}
    for name, stage in changed_texts(run).items():
        by_stage.setdefault(stage, []).append(name)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} changed since {run.path} was planned; the run goes on with "
        f"the {'text' if len(names) == 1 else 'texts'} that it was planned with. To use the new "
        f"{'one' if len(names) == 1 else 'ones'}: {command_line('run', run.path, stage, '--redo')}"
        for stage, names in by_stage.items()
    ]
