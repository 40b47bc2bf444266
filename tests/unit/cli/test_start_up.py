"""Commands that only say something start at once: they import no library that they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun, start_run

COUNT = """
import sys
from shardmill.cli.main import cli
try:
    cli(sys.argv[2:])
finally:
    print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""
HEAVY = "polars,pandas,numpy,pydantic,torch,transformers,matplotlib,jinja2"


def imported(unwanted: str, *words: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", COUNT, unwanted, *words], capture_output=True, text=True, check=False)
    assert "imported:" in done.stdout, done.stderr
    return done.stdout.rpartition("imported:")[2].split()


@pytest.mark.parametrize("words", [["--help"], ["launch", "--help"], ["--version"]], ids=" ".join)
def test_help_needs_no_library_of_tables(words: list[str]) -> None:
    assert imported(HEAVY, *words) == []


def test_the_status_of_a_run_needs_no_library_of_tables(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("caption\nA dog sleeps on a red sofa.\n")
    run = start_run(tmp_path / "run", NewRun(input=tmp_path / "t.csv", num_shards=1))
    assert imported("polars,pandas,numpy,torch,transformers", "status", str(run.path)) == []
