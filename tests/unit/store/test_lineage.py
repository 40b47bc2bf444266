"""Every command that hands data on checks the whole chain back to ingest, and the command in its refusal repairs it."""

from __future__ import annotations

import json
import pkgutil
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import CAPTIONS, write_captions
from shardmill.api import open_run
from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.plan import replace_plan
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_lineage, complete_manifests, launch_command, redo_command
from shardmill.util.errors import UserError

FIRST, LAST = "extract_objects", "paraphrase_mcq"
READERS = {
    "build": ["build", "RUN"],
    "combine": ["combine", "RUN", LAST, "--out", "OUT.csv"],
    "export": ["export", "RUN", "--format", "csv"],
    "audit": ["audit", "RUN", "--rows", "2"],
    "report": ["report", "RUN"],
    "compare": ["compare", "RUN", "RUN"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of three shards; the tests work on copies."""
    folder = tmp_path_factory.mktemp("whole")
    table = write_captions(folder / "captions.csv", CAPTIONS * 3)
    run = start_run(folder / "run", NewRun(input=table, num_shards=3, settings=["filter_objects.unverified=keep"]))
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(3):
            run_shard(run, stage, shard, models=models)
    return run


@pytest.fixture
def run(whole: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy in a folder whose name has a space, which commands in messages must quote."""
    shutil.copytree(whole.path, tmp_path / "my run")
    return RunFolder(tmp_path / "my run")


def shardmill(run: RunFolder, *words: str) -> tuple[int, str]:
    told = {"RUN": str(run.path), "OUT.csv": str(run.path.parent / "out.csv")}
    done = CliRunner().invoke(cli, [told.get(word, word) for word in words])
    return done.exit_code, str(done.exception) if isinstance(done.exception, UserError) else done.output


def repair(message: str) -> None:
    """Type in the command that a message ends with."""
    words = shlex.split(message[message.rindex("shardmill ") :])
    done = CliRunner().invoke(cli, words[1:])
    assert done.exit_code == 0, done.output


def edit_manifest(run: RunFolder, stage: str, shard: int, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    path = run.files(stage, shard).manifest
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


def of_another_plan(run: RunFolder, stage: str, *shards: int) -> None:
    """Leave shards as a worker does that was started before the stage was redone with other options."""
    for shard in shards:
        edit_manifest(run, stage, shard, lambda manifest: manifest["fingerprint"].update(options='{"max_objects": 1}'))


@pytest.mark.parametrize("reader", READERS)
def test_a_shard_of_another_plan_far_upstream_is_refused_and_repaired(run: RunFolder, reader: str) -> None:
    of_another_plan(run, FIRST, 0, 2)
    code, message = shardmill(run, *READERS[reader])
    assert code
    assert message.startswith("extract_objects: shards 0, 2: made with another fingerprint than planned; do them again: ")
    assert "--shard 0,2 --redo" in message
    repair(message)
    assert shardmill(run, *READERS[reader])[0] == 0


@pytest.mark.parametrize("reader", READERS)
def test_a_retry_of_rejects_far_upstream_leaves_the_later_stages_unfinished(run: RunFolder, reader: str) -> None:
    kept = run.manifest(FIRST, 1)
    assert kept is not None and all(run.manifest(FIRST, shard).rejected for shard in (0, 2))  # type: ignore[union-attr]
    edit_manifest(run, FIRST, 1, lambda manifest: manifest.update(rejected=0))
    assert shardmill(run, "retry", "RUN", FIRST, "--rejects", "--no-launch")[0] == 0
    run.files(FIRST, 1).manifest.write_bytes(kept.to_bytes())
    code, message = shardmill(run, *READERS[reader])
    if reader in ("report", "compare"):
        assert code == 0, message
        later = {(stage, 1) for stage in run.stages}
        assert complete_manifests(run).keys() == {("ingest", shard) for shard in range(3)} | later
        return
    assert code and message.startswith("extract_objects: shards 0, 2 of 3 are not finished; ")
    assert message.endswith(launch_command(run))
    assert shardmill(run, *READERS[reader], "--allow-missing")[0] == 0


def test_an_older_input_part_far_upstream_is_named_with_the_stages_to_bring_up_to_date(run: RunFolder) -> None:
    edit_manifest(run, "propose_negatives", 1, lambda manifest: manifest["input"].update(sha256="0" * 64))
    code, message = shardmill(run, *READERS["build"])
    assert code
    assert message.startswith("propose_negatives: shards 1: made from an older input part; bring them up to date: ")
    repair(message)
    assert shardmill(run, *READERS["build"])[0] == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda manifest: manifest.update(rows_out=manifest["rows_out"] - 1), "rows in differ"),
        (lambda manifest: manifest.update(shard=2), "that of another shard"),
        (lambda manifest: manifest.update(stage="create_mcq"), "that of another shard"),
        (lambda manifest: manifest.clear(), "the manifest is corrupt"),
    ],
)
@pytest.mark.parametrize("stage", ["ingest", FIRST, LAST])
def test_whatever_a_manifest_has_wrong_is_repaired_by_one_command(
    run: RunFolder,
    stage: str,
    change: Callable[[dict], object],
    what: str,  # type: ignore[type-arg]
) -> None:
    edit_manifest(run, stage, 1, change)
    code, message = shardmill(run, *READERS["export"])
    assert code or stage == LAST, "the default table does not have the questions"
    code, message = shardmill(run, *READERS["combine"])
    assert code and what in message and message.startswith(f"{stage}: shards 1: ")
    repair(message)
    assert [shardmill(run, *READERS[reader])[0] for reader in ("combine", "export", "build")] == [0, 0, 0]


def test_rows_for_a_notebook_are_checked_in_the_same_way(run: RunFolder) -> None:
    edit_manifest(run, "propose_negatives", 1, lambda manifest: manifest["input"].update(sha256="0" * 64))
    assert open_run(run.path).stage(LAST).finished_shards() == [0, 2]
    of_another_plan(run, FIRST, 0)
    with pytest.raises(UserError, match="extract_objects: shards 0: made with another fingerprint"):
        open_run(run.path).stage(LAST).to_polars()


def test_the_earliest_stage_is_named_and_a_redo_names_only_what_is_there(run: RunFolder) -> None:
    of_another_plan(run, LAST, 0)
    of_another_plan(run, "filter_objects", 1)
    check = check_lineage(run, [LAST], depth="origin")
    assert {fault.stage: shards for fault, shards in check.problems.items()} == {LAST: [0], "filter_objects": [1]}
    assert check.first(check.problems)[0].stage == "filter_objects"
    assert check.finished == [2]
    assert shlex.split(redo_command(run, LAST, range(3))) == [
        "shardmill", "run", str(run.path), LAST, "--shard", "0-2", "--redo",
    ]  # fmt: skip


def test_each_manifest_of_the_chain_is_read_once_and_none_is_kept(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[tuple[str, int]] = []
    manifest = RunFolder.manifest
    monkeypatch.setattr(RunFolder, "manifest", lambda self, *key: (looked_at.append(key), manifest(self, *key))[1])
    check = check_lineage(run, [LAST])
    chain = ["ingest", FIRST, "propose_negatives", "draw_questions", "filter_objects", "validate_objects", "create_mcq", LAST]
    assert check.stages == chain and check.finished == [0, 1, 2]
    assert sorted(looked_at) == sorted((stage, shard) for stage in chain for shard in range(3))


@pytest.mark.parametrize(
    ("reader", "where"),
    [
        ("build", "shardmill.negbench.build.write_card"),
        ("combine", "shardmill.store.combine.write_parts"),
        ("export", "shardmill.export.make._write"),
        ("report", "shardmill.quality.gather.flow_of"),
    ],
)
def test_a_plan_that_is_changed_while_data_is_read_is_a_refusal(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, reader: str, where: str
) -> None:
    """Rows of both plans may have been read: nothing is written that says it is whole."""
    original = pkgutil.resolve_name(where.rpartition(".")[0])
    function = getattr(original, where.rpartition(".")[2])

    def meanwhile(*words: Any, **named: Any) -> Any:
        replace_plan(run.path, RunFolder(run.path).plan)
        return function(*words, **named)

    monkeypatch.setattr(where, meanwhile)
    code, message = shardmill(run, *READERS[reader])
    assert code and "was changed by another command while it was being read" in message
    assert not any(run.path.parent.glob("out.csv")) and not (run.path / "datasets" / "dataset.json").exists()
    assert not (run.path / "exports" / "csv" / "export.json").exists()
