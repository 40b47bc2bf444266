"""The examples of `python/examples/` do what their first lines say, with the models that need no weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from docs.guides import ROOT

CAPTIONS = ["A red kite above a grey beach", "Two dogs asleep", "A boy in a yellow coat"]
COLOURS = [["red", "grey"], [], ["yellow"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the examples, with a table of captions beside them."""
    copied = tmp_path / "examples"
    shutil.copytree(ROOT / "python" / "examples", copied, ignore=shutil.ignore_patterns("__pycache__"))
    pd.DataFrame({"caption": CAPTIONS}).to_csv(copied / "my.csv", index=False)
    return copied


def python(folder: Path, *arguments: str) -> str:
    """What Python prints with these arguments, run in the folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "XDG_STATE_HOME": str(folder.parent / "state")}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shardmill(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "shardmill", *arguments)


def test_the_pipeline_of_one_file_runs_from_launch_to_export(folder: Path) -> None:
    launch = ("launch", "colours.py:PIPELINE", "--input", "my.csv", "--run", "RUN", "--num-shards", "2")
    shardmill(folder, *launch, "--model", "keyword_model.py:KeywordModel")
    status = json.loads(shardmill(folder, "status", "RUN", "--json"))
    assert status["pipeline"] == "colours"
    assert '["red","grey"]' in shardmill(folder, "explain", "RUN", "0").replace(", ", ",")
    shardmill(folder, "report", "RUN")
    shardmill(folder, "export", "RUN", "--format", "parquet", "--out", "exported")
    exported = pd.concat(map(pd.read_parquet, sorted((folder / "exported").rglob("*.parquet"))))
    assert [list(each) for each in exported["colours"]] == COLOURS


def test_the_pipeline_of_one_file_runs_with_the_model_that_needs_no_weights(folder: Path) -> None:
    shardmill(folder, "launch", "colours.py:PIPELINE", "--input", "my.csv", "--run", "RUN", "--num-shards", "1")
    rows = [json.loads(line) for line in next((folder / "RUN" / "datasets").glob("*.jsonl")).read_text("utf-8").splitlines()]
    assert [row["colours"] for row in rows] == COLOURS


def test_the_notebook_prints_frames_of_a_stage_and_of_a_run(folder: Path) -> None:
    printed = python(folder, "notebook.py")
    assert "[red, grey]" in printed
    assert "count_colours" in printed
