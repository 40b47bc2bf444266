"""`--redo` and the commands that error messages name: each, run as it stands, mends what the message complains of."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from shardmill.cli.main import cli
from shardmill.core.plan_changes import redo
from shardmill.core.shard_runner import run_shard
from shardmill.store.combine import combine
from shardmill.store.replan import replan
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.store.verify import check_stage
from shardmill.util.errors import UserError

MakeRun = Callable[..., RunFolder]
STAGES = ("extract_objects", "propose_negatives")


@pytest.fixture
def run(make_run: MakeRun) -> RunFolder:
    run = make_run()
    finish(run)
    return run


def finish(run: RunFolder) -> None:
    for stage in STAGES:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)


def remedy(error: UserError) -> None:
    """Run the command that a message ends with."""
    words = shlex.split(str(error)[str(error).rindex("shardmill ") :])
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 0, result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*.csv")}


@pytest.mark.parametrize("what", ["part", "rejects"])
def test_a_damaged_ingest_part_is_mended_by_the_command_in_the_message(run: RunFolder, what: str, tmp_path: Path) -> None:
    before, later = contents(run.folder("ingest")), contents(run.folder("propose_negatives"))
    path: Path = getattr(run.files("ingest", 2), what)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match="ingest: shards 2") as error:
        combine(run, "ingest", tmp_path / "x.csv")
    remedy(error.value)
    assert contents(run.folder("ingest")) == before
    assert contents(run.folder("propose_negatives")) == later
    assert check_stage(run, "propose_negatives").problems == {}


def test_a_stage_on_a_damaged_ingest_part_names_the_command_that_mends_it(make_run: MakeRun) -> None:
    run = make_run()
    path = run.files("ingest", 1).part
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match="does not match its manifest") as error:
        run_shard(run, "extract_objects", 1)
    remedy(error.value)
    assert run_shard(run, "extract_objects", 1).conserved()


def test_a_missing_ingest_shard_is_cut_by_the_command_in_the_message(make_run: MakeRun) -> None:
    run = make_run()
    for path in run.folder("ingest").glob("part-00003*"):
        path.unlink()
    with pytest.raises(UserError, match="ingest has not finished shard 3") as error:
        run_shard(run, "extract_objects", 3)
    remedy(error.value)
    assert run_shard(run, "extract_objects", 3).conserved()


def test_a_deleted_damaged_manifest_makes_the_shard_again(run: RunFolder) -> None:
    before = contents(run.folder("extract_objects"))
    manifest = run.files("extract_objects", 0).manifest
    manifest.write_text("{}")
    with pytest.raises(UserError, match=r"part-00000-of-00004\.json is corrupt .*delete it and run the shard again"):
        run_shard(run, "extract_objects", 0)
    manifest.unlink()
    run_shard(run, "extract_objects", 0)
    assert contents(run.folder("extract_objects")) == before


def test_a_later_stage_of_a_shard_that_is_open_again_is_not_finished(run: RunFolder, tmp_path: Path) -> None:
    manifest = run.manifest("extract_objects", 0)
    assert manifest is not None
    Shard(run, "extract_objects", 0).reopen_rejected(manifest)
    with pytest.raises(UserError, match=r"extract_objects: shards 0 of 4 are not finished; .*shardmill launch negbench"):
        combine(run, "propose_negatives", tmp_path / "x.csv")
    run_shard(run, "extract_objects", 0)
    combine(run, "propose_negatives", tmp_path / "x.csv")


def test_a_redo_of_one_shard_leaves_the_others_and_the_plan(run: RunFolder) -> None:
    untouched = {path: path.stat().st_mtime_ns for path in run.path.rglob("part-0000[013]*")}
    before = contents(run.folder("propose_negatives"))
    redo(run, "extract_objects", shards=[2])
    assert [run.is_complete("propose_negatives", shard) for shard in range(4)] == [True, True, False, True]
    assert (run.path / "superseded" / "revision-001" / "extract_objects" / "part-00002-of-00004.csv").exists()
    finish(run)
    assert contents(run.folder("propose_negatives")) == before
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert RunFolder(run.path).plan.revision == 1


def test_a_redo_cut_off_at_any_point_leaves_nothing_that_stands_on_something_gone(run: RunFolder) -> None:
    for after in range(8):
        calls = iter(range(100))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shardmill.core.plan_changes.archive_files", cutting_off(after, calls))
            with pytest.raises(KeyboardInterrupt):
                redo(run, "extract_objects", ["extract_objects.max_objects=2"])
        run = RunFolder(run.path)
        assert all(not check_stage(run, stage).problems for stage in STAGES)
        for shard in range(4):
            assert run.is_complete("extract_objects", shard) or not run.is_complete("propose_negatives", shard)
        finish(run)


def cutting_off(after: int, calls: object) -> Callable[..., None]:
    from shardmill.store.publish import archive_files

    def cut(*words: object) -> None:
        if next(calls) >= after:  # type: ignore[call-overload]
            raise KeyboardInterrupt
        archive_files(*words)  # type: ignore[arg-type]

    return cut


def test_settings_and_shards_do_not_go_together_and_ingest_has_no_settings(run: RunFolder) -> None:
    with pytest.raises(UserError, match="remove --shard"):
        redo(run, "extract_objects", ["extract_objects.max_objects=3"], [1])
    with pytest.raises(UserError, match="ingest has no options"):
        redo(run, "ingest", ["extract_objects.max_objects=3"])


def test_two_redos_keep_both_old_plans_and_parts(run: RunFolder) -> None:
    for limit in (3, 2):
        run = redo(run, "extract_objects", [f"extract_objects.max_objects={limit}"])
        finish(run)
    assert run.plan.revision == 3
    assert sorted(path.name for path in (run.path / "superseded").iterdir()) == [
        "plan-001.json",
        "plan-002.json",
        "revision-001",
        "revision-002",
    ]
    rows, _ = run.read_part("extract_objects", 0)
    assert rows["objects"].str.json_decode(pl.List(pl.String)).list.len().max() == 2


def test_a_redo_after_a_replan_works_on_the_new_shards(run: RunFolder) -> None:
    run = replan(run, num_shards=2)
    finish(run)
    run = redo(run, "propose_negatives")
    assert [run.is_complete("propose_negatives", shard) for shard in range(2)] == [False, False]
    assert all(run.is_complete("extract_objects", shard) for shard in range(2))


def test_a_redo_does_not_change_attempts_of_an_earlier_stage(run: RunFolder) -> None:
    with pytest.raises(UserError, match="extract_objects, which propose_negatives does not come before, changed too"):
        redo(run, "propose_negatives", ["extract_objects.attempts=9"])
    assert redo(run, "propose_negatives", ["propose_negatives.attempts=9"]).stage("propose_negatives").attempts == 9
