"""The guides say what is true: commands parse and run, paths exist, links lead somewhere, and no option is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from docs.guides import GUIDES, ROOT, SHELLS, Block, Command, anchors_of, blocks_of, code_spans, commands_of, inline_commands
from shardmill.cli.main import cli
from shardmill.core.registry import bundled_pipelines, find_pipeline, resolve, stage_class
from shardmill.core.stage import Stage
from shardmill.export.formats import BUILT_IN
from shardmill.models.registry import MODELS

MAX_README_LINES = 200
OURS = ("env/cluster.env", "slurm/sites/mine.", "data/runs", "data/toy", "data/pool", "data/servers", "data/negcap-hf")
"""Paths below the repository that a user makes."""
FOLDERS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))

OF_TODAY = [guide for guide in GUIDES if guide.name != "CHANGELOG.md"]  # which names commands that are gone
COMMANDS = [command for guide in OF_TODAY for block in blocks_of(guide) for command in commands_of(block)]
COMMANDS += [command for guide in OF_TODAY for command in inline_commands(guide)]


def is_run(block: Block) -> bool:
    """Whether the tests run a block."""
    return (block.language == "python" and not block.file) or (block.language in SHELLS and block.info == "run")


def check_command_line(words: list[str]) -> None:
    """Raises click.UsageError if `shardmill` would refuse these words before it did anything."""
    command: click.Command = cli
    context = click.Context(cli, info_name="shardmill", **cli.context_settings)  # click keeps the --help it makes
    rest = words
    while isinstance(command, click.Group):
        if not rest or rest[0].startswith("--"):  # a group that is only mentioned, or its help
            return
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if not rest or "--help" in rest:  # a command that is only mentioned
        return
    parsed, left, _ = command.make_parser(context).parse_args(list(rest))
    for param in command.params:
        value = parsed.get(str(param.name))
        if isinstance(param.type, click.Choice) and value is not None and not str(value).isupper():
            param.type_cast_value(context, value)
    needed = [param for param in command.params if isinstance(param, click.Argument) and param.required]
    missing = [param.name for param in needed if parsed.get(str(param.name)) in (None, ())]
    assert not missing, f"arguments are missing: {missing}"
    assert not left, f"too many arguments: {left}"


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[0] == "shardmill"], ids=str)
def test_a_command_line_has_existing_commands_options_and_choices(command: Command) -> None:
    check_command_line(command.words[1:])


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[0] == "make"], ids=str)
def test_a_make_target_exists(command: Command) -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [word for word in command.words[1:] if "=" not in word and word not in targets] == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[:2] == ["python", "-m"]], ids=str)
def test_a_module_that_is_run_exists(command: Command) -> None:
    assert find_spec(command.words[2])


SCRIPTS = [
    (command, word)
    for command in COMMANDS
    for word in command.words
    if re.fullmatch(r"[\w./-]+\.(py|sh|sbatch|lock)|tests/[\w/.-]+", word) and word.startswith(FOLDERS)
]


@pytest.mark.parametrize(("command", "script"), SCRIPTS, ids=str)
def test_a_script_exists_and_has_the_options_that_it_is_given(command: Command, script: str) -> None:
    path = ROOT / script.partition("::")[0]
    assert path.exists()
    if command.words[0] == "python" and command.words[1] == script:
        text = path.read_text(encoding="utf-8")
        options = [word.partition("=")[0] for word in command.words if word.startswith("--")]
        assert [option for option in options if f'"{option}"' not in text] == []


def settings() -> Iterator[tuple[Command, str]]:
    for command in COMMANDS:
        for before, word in zip(command.words, command.words[1:], strict=False):
            if before == "--set":
                yield command, word


def bundled_stages() -> dict[str, list[type[Stage]]]:
    """The stages of all bundled pipelines by name; pipelines may share a name."""
    found: dict[str, list[type[Stage]]] = {}
    for name in bundled_pipelines():
        for each in find_pipeline(name).stages:
            kind = stage_class(name, each)
            found.setdefault(kind.name, []).append(kind)
    return found


@pytest.mark.parametrize(("command", "setting"), list(settings()), ids=str)
def test_a_setting_names_an_option_of_a_stage(command: Command, setting: str) -> None:
    stage, _, option = setting.partition("=")[0].partition(".")
    kinds = bundled_stages().get(stage)
    if kinds is None:  # a stage that the guide itself defines, or a placeholder
        assert stage == "STAGE" or f'"{stage}"' in command.block.guide.read_text(encoding="utf-8")
        return
    special = ("model", "prompt", "attempts")
    assert option.split(".")[0] in special or any(option in kind.Options.model_fields for kind in kinds)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_paths_in_backticks_exist(guide: Path) -> None:
    spans = [span for span in code_spans(guide) if span.startswith(FOLDERS) and re.fullmatch(r"[\w./*-]+", span)]
    spans = [span for span in spans if not span.startswith(OURS) and not re.search(r"[A-Z]{4,}/", span)]
    assert [span for span in spans if not any(ROOT.glob(span.rstrip("/")))] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(guide: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", guide.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = guide.parent / name if name else guide
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            broken.append(target)
    assert broken == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def words_of(name: str) -> set[str]:
    """What the guide of a pipeline has in backticks, split at commas and blanks."""
    spans = code_spans(ROOT / "python" / "shardmill" / name / "README.md")
    return {word for span in spans for word in re.split(r"[\s,]+", span)}


@pytest.mark.parametrize("name", bundled_pipelines())
def test_a_pipelines_guide_has_every_stage_column_and_option(name: str) -> None:
    words = words_of(name)
    missing = []
    for each in find_pipeline(name).stages:
        kind = stage_class(name, each)
        missing += [kind.name] if kind.name not in words else []
        missing += [column for column in getattr(kind, "adds", ()) if column not in words and column[-1] not in "12"]
        missing += [option for field in kind.Options.model_fields if (option := f"{kind.name}.{field}") not in words]
    assert missing == []


def all_commands(group: click.Group, *path: str) -> Iterator[str]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from all_commands(command, *path, name)
        else:
            yield " ".join((*path, name))


@pytest.mark.parametrize("name", list(all_commands(cli)))
def test_every_command_is_in_a_guide(name: str) -> None:
    assert any(f"shardmill {name}" in guide.read_text(encoding="utf-8") for guide in GUIDES)


def test_every_model_file_and_backend_is_in_the_cluster_guide() -> None:
    text = (ROOT / "slurm" / "README.md").read_text(encoding="utf-8")
    names = [path.stem for path in (ROOT / "slurm" / "models").glob("*.yaml")] + [kind for _, kind in MODELS]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_export_format_is_in_the_guide_to_data() -> None:
    spans = code_spans(ROOT / "data" / "README.md")
    assert [name for name in BUILT_IN if name not in spans] == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[:2] == ["shardmill", "export"]], ids=str)
def test_an_export_names_a_format(command: Command) -> None:
    if "--format" in command.words[:-1]:
        name = command.words[command.words.index("--format") + 1]
        own = [format for name in bundled_pipelines() for format in resolve(find_pipeline(name).formats) or ()]
        assert name in [*BUILT_IN, *own] or name.isupper()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `shardmill` and `python` are those under test, and the user's own folders are temporary."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, arguments in (("shardmill", "-m shardmill"), ("python", "")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "python"),
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def check_block_runs(block: Block, folder: Path, environment: dict[str, str]) -> None:
    shell = block.language in SHELLS
    command = ["bash", "-euo", "pipefail", "-c", block.text] if shell else [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{block}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "guide", [guide for guide in GUIDES if any(map(is_run, blocks_of(guide)))], ids=lambda guide: str(guide.relative_to(ROOT))
)
def test_what_a_guide_shows_runs_in_its_order(guide: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for block in blocks_of(guide):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif is_run(block):
            check_block_runs(block, folder, environment)
