"""Telling what failed, grouped by cause, and finding the log of a shard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from shardmill.errors import UserError
from shardmill.launch.jobs import BadNode, Failure, JobsFolder
from shardmill.report.failures import plain, ranges, read_failures, render
from shardmill.report.log_files import excerpt, latest_text, logs_of
from shardmill.shards.run_folder import RunFolder
from shardmill.worker import run_shard

STAGE = "extract_objects"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    return make_run()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "task.log"
    path.write_text(
        "=== 2026-01-01T00:00:00+00:00 slot 0 of 8 for extract_objects, node n1 on here, process 1\n"
        "=== 2026-01-01T00:00:01+00:00 extract_objects shard 1 on here, process 2\nfirst of one\n"
        "=== 2026-01-01T00:00:02+00:00 extract_objects shard 2 on here, process 2\nall of two\n"
        "=== 2026-01-01T00:00:03+00:00 extract_objects shard 1 on here, process 3\nsecond of one\n"
        "[red]not markup[/red] \x1b[31m\n"
    )
    return path


def fail(run: RunFolder, shard: int, message: str, log: Path | str = "", node: str = "n1") -> None:
    JobsFolder(run).note_failure(
        Failure(stage=STAGE, shard=shard, kind="refused", message=message, node=node, job="7_0", log=str(log))
    )


def text_of(run: RunFolder) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(render(read_failures(run)))
    console.file.close()
    return console.export_text()


def test_the_part_of_a_log_that_tells_of_a_shard(log: Path) -> None:
    assert "first of one" in excerpt(log, STAGE, 1)
    assert "second of one" in excerpt(log, STAGE, 1)
    assert "all of two" not in excerpt(log, STAGE, 1)
    assert excerpt(log, STAGE, 2).endswith("all of two\n")


def test_failures_with_the_same_cause_are_one_group(run: RunFolder, log: Path) -> None:
    fail(run, 1, "no space left: /data/part-00001.csv", log)
    fail(run, 2, "no space left: /data/part-00002.csv", log, node="n2")
    fail(run, 0, "the key 'x' is missing", log)
    report = read_failures(run)
    assert [(cause.shards, cause.nodes) for cause in report.causes] == [([1, 2], ["n1", "n2"]), ([0], ["n1"])]
    assert report.causes[0].tail == ["=== 2026-01-01T00:00:02+00:00 extract_objects shard 2 on here, process 2", "all of two"]


def test_the_text_of_a_log_stays_text(run: RunFolder, log: Path) -> None:
    fail(run, 1, "[bold]gone[/bold]", log)
    told = text_of(run)
    assert "[red]not markup[/red] [31m" in told
    assert "[bold]gone[/bold]" in told
    assert "\x1b" not in plain("\x1b[2J\u202e")
    assert f"shardmill retry {run.path}" in told


def test_a_shard_that_was_finished_later_is_no_failure(run: RunFolder) -> None:
    fail(run, 1, "gone")
    run_shard(run, STAGE, 1)
    assert read_failures(run).causes == []
    assert "no unfinished shard has failed" in text_of(run)


def test_bad_nodes_are_told(run: RunFolder) -> None:
    JobsFolder(run).note_bad_node(BadNode(node="n7", reason="GPU 3 is gone", stage=STAGE))
    assert "node n7 is avoided: GPU 3 is gone" in text_of(run)


def test_the_log_of_a_shard_is_found_by_what_was_noted(run: RunFolder, log: Path) -> None:
    with pytest.raises(UserError, match="extract_objects shard 1 has no log"):
        logs_of(run, STAGE, 1)
    fail(run, 1, "gone", log)
    assert logs_of(run, STAGE, 1) == [log]
    assert latest_text(run, STAGE, 1, lines=2).startswith("second of one")
    with pytest.raises(UserError, match="there is no shard 99"):
        logs_of(run, STAGE, 99)


def test_the_log_of_a_finished_shard_is_in_its_manifest(run: RunFolder, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDMILL_LOG", str(log))
    run_shard(run, STAGE, 2)
    assert latest_text(run, STAGE, 2).endswith("all of two")


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
