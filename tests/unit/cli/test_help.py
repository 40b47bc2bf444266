"""What `--help` shows: every command in a section, whole sentences at 80 columns, and commands that pipelines bring."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from shardmill.cli import main
from shardmill.cli.main import cli, pipeline_commands
from shardmill.core import registry
from shardmill.core.pipeline import Pipeline
from shardmill.util.commands import SECTIONS, section_of
from shardmill.util.errors import UserError


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with their names, those of groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli))


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_fits_80_columns_and_nothing_is_cut_off(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"], terminal_width=80)
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.output.splitlines() if len(line) > 80] == []
    assert not [line for line in shown.output.splitlines()[1:] if line.rstrip().endswith("...")]


def test_every_command_is_in_a_section_and_the_sections_are_in_order() -> None:
    assert {section_of(command) for path, command in ALL.items() if len(path) == 1} == set(SECTIONS)
    headings = [line[:-1] for line in CliRunner().invoke(cli, ["--help"]).output.splitlines() if line[:-1] in SECTIONS]
    assert headings == list(SECTIONS)


def test_the_first_lines_are_short_enough_to_be_read_at_a_glance() -> None:
    short = {path: command.get_short_help_str(limit=1000) for path, command in ALL.items() if len(path) == 1}
    assert {path: text for path, text in short.items() if len(text) > 45} == {}


def test_options_are_listed_under_headings_none_of_which_is_misspelt() -> None:
    shown = CliRunner().invoke(cli, ["launch", "--help"]).output
    headings = ["Run:", "Where it runs:", "Models and options:", "Shards:", "Reading the input:", "Options:"]
    assert [line for line in shown.splitlines() if line in headings] == headings
    assert shown.partition("\nOptions:\n")[2].split()[:2] == ["-h,", "--help"]
    for command in ALL.values():
        listed = {name for names in getattr(command, "option_sections", {}).values() for name in names}
        assert listed <= {param.opts[0] for param in command.params}


def test_every_option_and_every_command_says_what_it_is_for() -> None:
    for path, command in ALL.items():
        assert command.help, path
        for param in command.params:
            assert not isinstance(param, click.Option) or param.help, (path, param.name)


def test_pipelines_bring_commands_which_are_imported_only_when_they_are_needed() -> None:
    assert not {"cpbench", "concepts", "join-captions", "check-multitext"} & cli.commands.keys()
    assert {"cpbench", "concepts", "join-captions", "check-multitext"} <= pipeline_commands().keys()


def test_a_pipeline_whose_command_cannot_be_loaded_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Pipeline("broken", stages=(), commands=("no_such_module:command",))
    monkeypatch.setattr(registry, "find_pipeline", lambda name: broken)
    with pytest.raises(UserError, match="no_such_module:command of the pipeline broken"):
        registry.load_commands("broken")
    shown = CliRunner().invoke(click.Command("x", callback=main.pipeline_commands.__wrapped__), [])
    assert shown.exit_code == 0 and "warning: " in shown.stderr


def test_a_mistyped_command_of_a_pipeline_gets_a_suggestion_too() -> None:
    shown = CliRunner().invoke(cli, ["cpbensh"])
    assert shown.exit_code == 2 and "did you mean 'cpbench'" in shown.output
