"""click commands that `--help` lists in sections, and groups that suggest the name that was meant."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from shardmill.util.errors import did_you_mean
from shardmill.util.terminal import echo

START = "Start a run"
WATCH = "Watch a run"
LOOK = "Look at the data"
HAND_ON = "Hand the data on"
CHANGE = "Change a run"
PREPARE = "Prepare inputs"
CLUSTER = "Cluster and servers"
SECTIONS = (START, WATCH, LOOK, HAND_ON, CHANGE, PREPARE, CLUSTER)

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)


OptionSections = Mapping[str, Sequence[str]]
"""Headings for options, in order, and the first names of those below each."""


class SectionedCommand(click.Command):
    """A command that `--help` lists under a heading.

    Args:
        section: One of `SECTIONS`.
        options: Headings for its options; those that are under none come last.
    """

    def __init__(self, *args: Any, section: str, options: OptionSections | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section
        self.option_sections = options or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        options = {param.opts[0]: param for param in self.get_params(ctx) if isinstance(param, click.Option)}
        listed = {name for names in self.option_sections.values() for name in names}
        rest = {"Options": [name for name in options if name not in listed]}
        for heading, names in {**self.option_sections, **rest}.items():
            rows = [record for name in names if name in options and (record := options[name].get_help_record(ctx))]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class SectionedGroup(click.Group):
    """A group that lists its commands in sections, in the order in which they were added.

    Args:
        section: The section of the group itself in the group that it belongs to.
    """

    def __init__(self, *args: Any, section: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"there is no command {name!r}; {did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings; those without a section come last. Summaries are wrapped, never cut off."""
        commands = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name)) is not None}
        width = max(map(len, commands), default=0)
        for section in (*SECTIONS, ""):
            rows = [
                (name.ljust(width), command.get_short_help_str(limit=1000))
                for name, command in commands.items()
                if section_of(command) == section and not command.hidden
            ]
            if rows:
                with formatter.section(section or "Commands"):
                    formatter.write_dl(rows)


def section_of(command: click.Command) -> str:
    """The section of a command, "" for one that names none."""
    return command.section if isinstance(command, (SectionedCommand, SectionedGroup)) else ""


def command(section: str, name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], SectionedCommand]:
    """Decorator that makes a function a command of a section; `options` as for `click.command`."""
    return click.command(name, cls=SectionedCommand, section=section, **options)


def group(section: str, **options: Any) -> Callable[[Callable[..., Any]], SectionedGroup]:
    """Decorator that makes a function a group of commands in a section; `options` as for `click.group`."""
    return click.group(cls=SectionedGroup, section=section, **options)


json_option = click.option("--json", "as_json", is_flag=True, help="print JSON, for scripts")
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="seed of all random choices")


def command_line(*words: object) -> str:
    """A `shardmill` command as one types it into a shell.

    >>> command_line("status", "my runs/first")
    "shardmill status 'my runs/first'"
    """
    return shlex.join(["shardmill", *map(str, words)])


def print_next(*words: object) -> None:
    """Print the command that usually comes next."""
    echo(f"next: {command_line(*words)}")


def print_note(text: str) -> None:
    """Print a note for the user to stderr."""
    echo(f"note: {text}", err=True)


def print_warning(text: str) -> None:
    """Print a warning to stderr."""
    echo(f"warning: {text}", fg="yellow", err=True)
