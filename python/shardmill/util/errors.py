"""The exceptions that people see."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the user can fix. The message says what is wrong, where, and what to do; the CLI prints it and exits 2."""


class NoRows(UserError):
    """A run or a stage of which no row came out. The message has the main reason and what to change; the CLI exits 3."""


class BudgetSpent(UserError):
    """A run has cost what it may (`--max-cost`). What was paid for is saved; the CLI exits 5, and more budget lets it go on."""


class FingerprintChanged(UserError):
    """What a stage is made of, its code say, is not what the run was planned with. It is so on every node."""


class PlanChanged(UserError):
    """What a worker was to do is planned otherwise by now, or its input is not there (any more): another command came between.

    A launch reads the plan again and goes on.
    """


class Stopped(Exception):
    """A worker was asked to stop (signal). What it had done is in its journal; the CLI exits 75, which means: run it again."""


class ModelDied(Exception):
    """A model died for good (CUDA error, out of memory, a lost peer): its worker must end at once, so that another takes over.

    The message says what happened and what to do; the CLI exits 70.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the nearest known ones, or all of them when none is near.

    >>> did_you_mean("captoin", ["caption", "image"])
    "did you mean 'caption'?"
    """
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {name_list(names)}" if names else "none is known"


def name_list(names: Iterable[str], most: int = 30, longest: int = 60) -> str:
    """Names for a message: at most `most` of them, each cut to `longest` characters.

    >>> name_list(["caption", "x" * 99], longest=8)
    'caption, xxxxxxxx…'
    """
    known = list(names)
    shown = [name if len(name) <= longest else f"{name[:longest]}…" for name in known[:most]]
    return ", ".join(shown) + (f" and {len(known) - most:,} more" if len(known) > most else "")
