"""Changing a run knowingly: other shard counts, rejected rows asked again, a stage redone. Finished rows are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from shardmill.core.plan_changes import redo
from shardmill.core.shard_runner import run_shard
from shardmill.core.stage import Reject
from shardmill.negbench.extract_objects import ExtractObjects
from shardmill.store import replan as replanning
from shardmill.store.combine import combine
from shardmill.store.replan import replan
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.errors import Stopped, UserError

MakeRun = Callable[..., RunFolder]
STAGES = ("extract_objects", "propose_negatives", "draw_questions", "filter_objects", "validate_objects", "create_mcq")


def finish(run: RunFolder, stages: tuple[str, ...] = STAGES) -> int:
    """Run all shards of the stages; returns how many rows a model stage had to do."""
    rows = 0
    for stage in stages:
        for shard in range(run.num_shards):
            done = run.is_complete(stage, shard)
            manifest = run_shard(run, stage, shard)
            rows += 0 if done or not manifest.usage else manifest.rows_in - manifest.elsewhere
    return rows


def whole(run: RunFolder, stage: str, folder: Path) -> bytes:
    return combine(run, stage, folder / f"{run.path.name}-{stage}.csv").path.read_bytes()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_replanned_runs_keep_their_rows_and_equal_runs_cut_so_from_the_start(
    make_run: MakeRun, tmp_path: Path, count: int
) -> None:
    run, other = make_run("run"), make_run("other", num_shards=count)
    finish(run), finish(other)
    run = replan(run, num_shards=count)
    assert finish(run) == 0
    for stage in STAGES:
        assert whole(run, stage, tmp_path) == whole(other, stage, tmp_path)
        assert not list(run.folder(stage).glob("*.journal"))
    assert {path.name.split("-of-")[1][:5] for path in run.folder("ingest").iterdir()} == {f"{count:05d}"}


def test_rows_of_unfinished_shards_are_kept_too(make_run: MakeRun) -> None:
    run = make_run()
    looks = iter(range(100))
    with pytest.raises(Stopped):
        run_shard(run, "extract_objects", 0, should_stop=lambda: next(looks) > 12)
    run_shard(run, "extract_objects", 1)
    rows = sum(manifest.rows_out for shard in range(4) if (manifest := run.manifest("ingest", shard)))
    run = replan(run, num_shards=2)
    asked = finish(run, ("extract_objects",))
    assert 0 < asked <= rows - run_shard(run, "extract_objects", 0).rows_in // 2


def test_a_replan_that_was_cut_off_can_be_run_again(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = make_run()
    finish(run)
    before = {stage: whole(run, stage, tmp_path) for stage in STAGES}
    for name, after in (("_keep_rows", 3), ("_recut_ingest", 1), ("replace_plan", 0), ("_swept", 1)):
        original = getattr(replanning, name)
        calls = iter(range(1000))

        def cut_off(
            *words: object, original: Callable = original, calls: object = calls, after: int = after, **named: object
        ) -> object:
            if next(calls) >= after:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return original(*words, **named)

        monkeypatch.setattr(replanning, name, cut_off)
        with pytest.raises(KeyboardInterrupt):
            replan(RunFolder(run.path), num_shards=7)
        monkeypatch.undo()
    with pytest.raises(UserError, match="has 7 shards already"):
        replan(RunFolder(run.path), num_shards=7)
    run = RunFolder(run.path)
    assert finish(run) == 0
    assert {stage: whole(run, stage, tmp_path) for stage in STAGES} == before
    assert not [path for stage in STAGES for path in run.folder(stage).glob("part-*") if "-of-00007." not in path.name]


def test_the_same_number_of_shards_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="has 4 shards already"):
        replan(make_run(), num_shards=4)


def test_only_rejected_rows_are_asked_again_and_later_stages_keep_their_rows(make_run: MakeRun, tmp_path: Path) -> None:
    source = tmp_path / "captions.csv"
    run = make_run(settings=["propose_negatives.at_least=5"])
    finish(run)
    accepted = pl.read_csv(combine(run, "extract_objects", tmp_path / "before.csv").path)
    manifests = [run.manifest("extract_objects", shard) for shard in range(4)]
    opened = sum(
        Shard(run, "extract_objects", shard).reopen_rejected(manifest) for shard, manifest in enumerate(manifests) if manifest
    )
    assert opened == sum(manifest.rejected for manifest in manifests if manifest) > 0
    assert finish(run, ("extract_objects",)) == opened
    assert finish(run, STAGES[1:]) == 0
    assert [manifest.round for shard in range(4) if (manifest := run.manifest("extract_objects", shard))] == [1] * 4
    assert pl.read_csv(combine(run, "extract_objects", tmp_path / "after.csv").path).equals(accepted)
    assert source.exists()


def test_rows_that_come_back_by_a_retry_go_through_the_later_stages(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    accept = ExtractObjects.accept
    monkeypatch.setattr(
        ExtractObjects,
        "accept",
        lambda self, row, answers: Reject("bad day") if row["row_id"] % 5 == 0 else accept(self, row, answers),
    )
    run, reference = make_run("run"), make_run("reference")
    finish(run)
    monkeypatch.undo()
    finish(reference)
    for shard in range(4):
        manifest = run.manifest("extract_objects", shard)
        assert manifest is not None
        Shard(run, "extract_objects", shard).reopen_rejected(manifest)
    finish(run)
    rows = {each: pl.read_csv(combine(each, "validate_objects", tmp_path / "x.csv").path)["row_id"] for each in (run, reference)}
    assert rows[run].equals(rows[reference])


def test_a_redone_stage_takes_those_after_it_along_and_leaves_those_before(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    finish(run)
    first = run.files("extract_objects", 0).manifest.read_bytes()
    run = redo(run, "create_mcq", ["create_mcq.style=original"])
    assert run.plan.revision == 2
    assert not run.is_complete("create_mcq", 0)
    assert run.files("extract_objects", 0).manifest.read_bytes() == first
    finish(run)
    made = pl.read_csv(combine(run, "create_mcq", tmp_path / "x.csv").path)
    assert set(made["correct_answer_template"]) <= {"positive", "negative", "hybrid", "modified_positive"}
    assert (run.path / "superseded" / "plan-001.json").exists()
    assert list((run.path / "superseded" / "revision-001" / "create_mcq").glob("part-*.csv"))


def test_a_change_before_the_redone_stage_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(UserError, match="extract_objects, which create_mcq does not come before, changed too"):
        redo(run, "create_mcq", ["extract_objects.max_objects=3"])
    assert RunFolder(run.path).plan.revision == 1
