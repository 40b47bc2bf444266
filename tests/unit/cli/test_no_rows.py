"""A run that ends with zero rows is a failure in every command: exit code 3, the reason, what to change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_cli import shardmill, signals  # noqa: F401 (a fixture)

from conftest import write_captions
from shardmill.store.run_folder import RunFolder


@pytest.fixture
def empty_run(make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    """A run whose captions name no thing."""
    table = write_captions(tmp_path / "abstract.csv", ["The joy of a long weekend", "The joy of it all", ""])
    return make_run(input=table, num_shards=2)


def test_every_command_fails_with_the_reason_and_what_to_change(empty_run: RunFolder, tmp_path: Path) -> None:
    run = empty_run.path
    commands = [
        *(("run", run, stage) for stage in empty_run.stages),
        ("status", run),
        ("status", run, "--json"),
        ("build", run),
        ("export", run, "--format", "parquet"),
        ("combine", run, "extract_objects", "--out", tmp_path / "all.csv"),
        ("report", run),
        ("launch", "negbench", "--run", run),
    ]
    for command in commands:
        done = shardmill(*command)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 3, (command, said)
        if "--json" in command:
            assert "extract_objects rejected all" in json.loads(done.stdout)["no_rows"]
        else:
            assert "extract_objects rejected all of its 2 rows: the model named none" in said, (command, said)
            assert "extract_objects --redo" in said and "rejects.csv" in said, (command, said)
    assert not (run / "datasets").exists()


def test_an_input_of_which_no_row_is_taken_fails_before_any_stage(tmp_path: Path) -> None:
    table = write_captions(tmp_path / "blank.csv", ["", " ", ""])
    for command in (("shard", table, "--run", tmp_path / "a"), ("launch", "negbench", "--input", table, "--run", tmp_path / "b")):
        done = shardmill(*command)
        assert done.returncode == 3, done.stderr
        assert "ingest rejected all of its 3 rows: empty caption 3" in done.stderr and "--caption-column" in done.stderr


def test_an_unfinished_run_is_not_one_without_rows(empty_run: RunFolder) -> None:
    done = shardmill("status", empty_run.path, "--json")
    assert done.returncode == 4 and json.loads(done.stdout)["no_rows"] == ""
    assert shardmill("status", empty_run.path).returncode == 0
