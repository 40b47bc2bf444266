"""Code of the user's: named by the user's own command, never by a run folder; each mistake is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardmill.cli.main import cli
from shardmill.util.errors import UserError

EXAMPLES = Path(__file__).parents[3] / "python" / "examples"
LAUNCH = ("launch", "colours.py:PIPELINE", "--input", "captions.csv", "--run", "run", "--model", "keyword_model.py:KeywordModel")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("colours.py", "count_colours.md", "keyword_model.py"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    rows = "".join(f"a {('red', 'tall')[number % 2]} kite {number}\n" for number in range(20))
    (tmp_path / "captions.csv").write_text("caption\n" + rows)
    return tmp_path


def shardmill(folder: Path, *words: object, state: str = "state") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / state)}
    environment.pop("SHARDMILL_CODE", None)
    command = [sys.executable, "-m", "shardmill", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, env=environment)


@pytest.fixture
def refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs a command in this process, which is quicker than one of its own, and gives the one line by which it is refused."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("SHARDMILL_CODE", "{}")
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def run(*words: object) -> str:
        error = CliRunner().invoke(cli, [*map(str, words)]).exception
        assert isinstance(error, UserError), error
        assert "\n" not in str(error)
        return str(error)

    yield run
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]


def refused(folder: Path, *words: object, state: str = "state") -> str:
    """The one line of a refusal."""
    done = shardmill(folder, *words, state=state)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("shardmill: ")]
    return line


def test_the_example_runs_and_later_commands_of_the_same_user_know_its_code(folder: Path) -> None:
    done = shardmill(folder, *LAUNCH, "--num-shards", 2, "--workers", 1)
    assert done.returncode == 0, done.stderr
    rows = (folder / "run" / "count_colours" / "part-00000-of-00002.csv").read_text()
    assert '"[""red""]"' in rows
    assert shardmill(folder, "status", "run").returncode == 0
    assert shardmill(folder, "explain", "run", 3).returncode == 0
    assert shardmill(folder, "run", "run", "count_colours", "--shard", 0).returncode == 0
    assert shardmill(folder, "run", "run", "count_colours", "--shard", 0, "--redo").returncode == 0


def test_a_run_folder_from_elsewhere_cannot_make_a_worker_import_code(folder: Path) -> None:
    assert shardmill(folder, *LAUNCH, "--num-shards", 1, "--workers", 1).returncode == 0
    (folder / "colours.py").write_text("raise SystemExit(open('imported', 'w').write('x'))\n")
    (folder / "run" / "count_colours" / "part-00000-of-00001.json").unlink()
    (folder / "run" / "count_colours" / "part-00000-of-00001.csv").unlink()
    line = refused(folder, "run", "run", "count_colours", "--shard", 0, state="another user's")
    assert "which this command does not name" in line and "--code" in line
    assert not (folder / "imported").exists()


@pytest.mark.parametrize("reference", ["os:system", "subprocess:run", "keyword_model:KeywordModel", "/tmp/x.py:Evil"])
def test_a_plan_that_names_code_or_models_of_its_own_is_refused(folder: Path, reference: str) -> None:
    assert shardmill(folder, "shard", "captions.csv", "--run", "run", "--num-shards", 1).returncode == 0
    plan = json.loads((folder / "run" / "plan.json").read_text())
    plan["stages"][0]["source"] = reference
    (folder / "run" / "plan.json").write_text(json.dumps(plan))
    assert "does not name" in refused(folder, "run", "run", "extract_objects", "--shard", 0)
    plan["stages"][0].update(source="negbench", model={"kind": reference, "args": ["touch imported"]})
    (folder / "run" / "plan.json").write_text(json.dumps(plan))
    assert "does not name" in refused(folder, "run", "run", "extract_objects", "--shard", 0)


def test_what_others_could_have_written_to_the_state_folder_does_not_count(folder: Path) -> None:
    assert shardmill(folder, *LAUNCH, "--num-shards", 1, "--workers", 1).returncode == 0
    [kept] = (folder / "state" / "shardmill" / "code").glob("*.json")
    assert kept.stat().st_mode & 0o077 == 0
    kept.chmod(0o666)
    assert "does not name" in refused(folder, "run", "run", "count_colours", "--shard", 0, "--redo")


def stage(body: str, name: str = "mine.py") -> str:
    return f"from pydantic import BaseModel\nfrom shardmill import Pipeline, TextStage, RowStage\n{body}\n"


FIRST = """
class First(RowStage):
    name, reads, adds = "first", ("caption",), {"words": "int"}

    def decide(self, row, rng):
        return {"words": 1}

PIPELINE = Pipeline('mine', stages=[First])
"""
TEXT = """
class Words(BaseModel):
    words: list[str]

class First(TextStage):
    name, reads = "first", ("caption",)
    prompt = "x {{ caption }}"
    answer = Words

PIPELINE = Pipeline("mine", stages=[First])
"""
MISTAKES = {
    "raise ValueError('no such thing')": ("mine.py, line 3", "no such thing"),
    "def broken(:": ("mine.py, line 3",),
    "import nowhere_to_be_found": ("mine.py, line 3", "nowhere_to_be_found"),
    "PIPELINE = 3": ("int", "not a Pipeline"),
    "PIPELIN = 3": ("has no PIPELINE", "did you mean 'PIPELIN'"),
    "PIPELINE = Pipeline('mine', stages=[])": ("no stages",),
    "PIPELINE = Pipeline('mine', stages=[str])": ("not a stage class",),
    FIRST.replace("[First]", "[First, First]"): ("two stages named 'first'",),
    FIRST.replace('"caption"', '"captoin"'): ("'captoin'", "did you mean 'caption'"),
    FIRST.replace('"int"', '"integer"'): ("First.adds", "'integer'"),
    FIRST.replace('"first"', '"../up"'): ("First.name",),
    FIRST.replace('("caption",)', '"caption"'): ("First.reads", "tuple"),
    TEXT.replace("x {{ caption }}", "gone.md"): ("gone.md was not found",),
    TEXT.replace("x {{ caption }}", "x {{ captoin }}"): ("captoin", "did you mean 'caption'"),
    TEXT.replace("x {{ caption }}", "x {{ caption"): ("unexpected end",),
    TEXT.replace("    answer", "    adds = {'wrods': 'list'}\n    answer"): ("'wrods'", "did you mean 'words'"),
}


@pytest.mark.parametrize(("body", "says"), MISTAKES.items())
def test_each_mistake_is_one_line_with_the_place_in_the_users_code(
    folder: Path, refusal: Callable[..., str], body: str, says: tuple[str, ...]
) -> None:
    (folder / "mine.py").write_text(stage(body))
    line = refusal("launch", "mine.py:PIPELINE", "--input", "captions.csv", "--run", "run")
    for part in says:
        assert part in line
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere.py:PIPELINE", "there is no file"),
        ("nowhere.pipelines:PIPELINE", "no installed module"),
        ("json:PIPELINE", "has no PIPELINE"),
        ("json:dumps", "not a Pipeline"),
        ("negbenhc", "did you mean 'negbench'"),
        ("anyedit-caption", "did you mean 'anyedit-captions'"),
    ],
)
def test_a_reference_that_leads_nowhere_is_one_line(refusal: Callable[..., str], reference: str, says: str) -> None:
    assert says in refusal("launch", reference, "--input", "captions.csv", "--run", "run")


def test_a_pipeline_file_uses_stages_prompts_and_models_from_anywhere(folder: Path) -> None:
    (folder / "short.md").write_text("Colours in: {{ caption }}")
    (folder / "mixed.yaml").write_text(
        "pipeline: mixed\nstages:\n"
        "  - {stage: negbench.extract_objects, model: rules}\n"
        "  - stage: colours.py:CountColours\n    prompt: short.md\n"
        "    model: {kind: 'keyword_model.py:KeywordModel', words: [kite]}\n"
    )
    done = shardmill(folder, "launch", "mixed.yaml", "--input", "captions.csv", "--run", "run", "--num-shards", 1)
    assert done.returncode == 0, done.stderr
    plan = json.loads((folder / "run" / "plan.json").read_text())
    assert [each["source"] for each in plan["stages"]] == ["negbench", "colours:CountColours"]
    assert plan["stages"][1]["prompt"] == "Colours in: {{ caption }}"
    assert '"[""kite""]"' in (folder / "run" / "count_colours" / "part-00000-of-00001.csv").read_text()


def test_a_prompt_of_ones_own_on_the_command_line(folder: Path) -> None:
    (folder / "mine.md").write_text("Which visible things does this name? {{ caption }}")
    words = ("shard", "captions.csv", "--run", "run", "--set", "extract_objects.prompt=mine.md")
    assert shardmill(folder, *words).returncode == 0
    plan = json.loads((folder / "run" / "plan.json").read_text())
    assert plan["stages"][0]["prompt"].startswith("Which visible things")
    (folder / "mine.md").write_text("Objects: {{ captoin }}")
    assert "did you mean 'caption'" in refused(folder, *words[:-2], "--set", "extract_objects.prompt=mine.md")
    assert "gone.md was not found" in refused(folder, *words[:-2], "--set", "extract_objects.prompt=gone.md")
