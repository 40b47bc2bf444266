"""The commands that refusals advise, typed in as they stand, do what they promise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shardmill.cli.main import cli
from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

MakeRun = Callable[..., RunFolder]
COMMAND = re.compile(r"shardmill (?:[^;,()\n'\"]|'[^']*'|\"[^\"]*\")+")


def shardmill(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def advised(result: Result) -> list[str]:
    """The commands in the message of a refusal."""
    assert isinstance(result.exception, UserError), result.output
    found = [match[0].strip() for match in COMMAND.finditer(str(result.exception))]
    assert found, str(result.exception)
    return found


def follow(command: str) -> None:
    done = shardmill(*shlex.split(command)[1:])
    assert done.exit_code == 0, (command, done.output, done.exception)


@pytest.mark.parametrize(
    "changed",
    [
        ["--set", "propose_negatives.count=2"],
        ["--set", "extract_objects.attempts=7"],
        ["--set", "filter_objects.model.miss_rate=0.5"],
        ["--num-shards", "2"],
    ],
    ids=" ".join,
)
def test_a_run_that_was_planned_differently_is_changed_by_the_advised_command(
    make_run: MakeRun, captions_csv: Path, changed: list[str]
) -> None:
    run = make_run(num_shards=3)
    for shard in range(3):
        run_shard(run, "extract_objects", shard)
    words = ["shard", captions_csv, "--run", run.path, "--num-shards", 3, "--set", "filter_objects.unverified=keep", *changed]
    first = advised(shardmill(*words))[0]
    if "--num-shards" in changed:
        follow(first)
        assert RunFolder(run.path).num_shards == 2
    else:
        finish_before(run, shlex.split(first)[3])
        follow(first)
        assert shardmill(*words).exit_code == 0


def finish_before(run: RunFolder, stage: str) -> None:
    for name in run.stages[: run.stages.index(stage)]:
        for shard in range(run.num_shards):
            run_shard(run, name, shard)


def test_what_a_launch_advises_for_an_option_of_a_run_works(make_run: MakeRun) -> None:
    run = make_run()
    for shard in range(run.num_shards):
        run_shard(run, "extract_objects", shard)
    refused = shardmill("launch", "negbench", "--run", run.path, "--set", "propose_negatives.count=2")
    follow(advised(refused)[-1])
    assert RunFolder(run.path).stage("propose_negatives").options["count"] == 2


def test_an_unknown_site_is_described_by_the_advised_command(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run()
    refused = shardmill("estimate", run.path, "--site", "mine", "--no-probe")
    follow(advised(refused)[-1])
    assert (tmp_path / "mine.yaml").exists() and (tmp_path / "mine.env").exists()
    assert not isinstance(shardmill("estimate", run.path, "--site", "mine", "--no-probe").exception, UserError)
