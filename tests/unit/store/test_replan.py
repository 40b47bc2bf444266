"""`shardmill replan` beside what test_reworking.py says of it: damage, rejects, and rows of every round are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.store.combine import combine
from shardmill.store.replan import replan
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.errors import Stopped, UserError

MakeRun = Callable[..., RunFolder]


def rejects(run: RunFolder, stage: str) -> list[dict[str, object]]:
    return [row for shard in range(run.num_shards) for row in pl.read_csv(run.files(stage, shard).rejects).to_dicts()]


def test_each_row_is_asked_once_over_a_replan_in_the_middle(make_run: MakeRun, tmp_path: Path) -> None:
    run, calm = make_run("run"), make_run("calm", num_shards=6)
    looks = iter(range(100))
    with pytest.raises(Stopped) as stopped:
        run_shard(run, "extract_objects", 0, should_stop=lambda: next(looks) > 12)
    kept = int(str(stopped.value).split()[0]) + run_shard(run, "extract_objects", 1).rows_in
    run = replan(run, num_shards=6)
    manifests = [run_shard(run, "extract_objects", shard) for shard in range(6)]
    asked = sum(manifest.rows_in - manifest.elsewhere for manifest in manifests)
    assert sum(manifest.usage["requests"] for manifest in manifests) == pytest.approx(kept + asked), "paid for, kept or not"
    rows = sum(run_shard(calm, "extract_objects", shard).rows_in for shard in range(6))
    assert kept + asked == rows
    assert combine(run, "extract_objects", tmp_path / "a.csv").path.read_bytes() == (
        combine(calm, "extract_objects", tmp_path / "b.csv").path.read_bytes()
    )
    assert rejects(run, "ingest") == rejects(calm, "ingest")
    assert rejects(run, "extract_objects") == rejects(calm, "extract_objects")


@pytest.mark.parametrize(("stage", "what"), [("ingest", "part"), ("ingest", "rejects"), ("extract_objects", "part")])
def test_damage_does_not_pass_into_the_new_shards(make_run: MakeRun, stage: str, what: str) -> None:
    run = make_run()
    for shard in range(4):
        run_shard(run, "extract_objects", shard)
    path: Path = getattr(run.files(stage, 2), what)
    path.write_bytes(path.read_bytes()[:-2] + b"\n\n")
    with pytest.raises(UserError, match=f"{path.name} does not match its manifest.*{stage} --shard 2 --redo"):
        replan(run, num_shards=3)
    assert RunFolder(run.path).num_shards == 4


def test_an_unfinished_retry_keeps_its_round(make_run: MakeRun) -> None:
    run = make_run()
    for shard in range(4):
        run_shard(run, "extract_objects", shard)
        manifest = run.manifest("extract_objects", shard)
        assert manifest is not None and Shard(run, "extract_objects", shard).reopen_rejected(manifest)
    run = replan(run, num_shards=2)
    manifests = [run_shard(run, "extract_objects", shard) for shard in range(2)]
    assert [manifest.round for manifest in manifests] == [1, 1]
    asked = sum(manifest.rows_in - manifest.elsewhere for manifest in manifests)
    assert asked == sum(manifest.rejected for manifest in manifests)


def test_rows_per_shard_and_bounds_that_would_keep_the_names(make_run: MakeRun) -> None:
    assert replan(make_run("run"), rows_per_shard=25).plan.shards == [(0, 25), (25, 50), (50, 60)]
    with pytest.raises(UserError, match="choose another number"):
        replan(make_run("other"), rows_per_shard=16)


def test_rows_with_several_questions_are_kept_with_each_of_them(make_run: MakeRun, tmp_path: Path) -> None:
    settings = ["create_mcq.questions_per_image=3"]
    run, calm = make_run("run", settings=settings), make_run("calm", settings=settings, num_shards=3)
    for each in (run, calm):
        for stage in each.stages:
            for shard in range(each.num_shards):
                run_shard(each, stage, shard)
    run = replan(run, num_shards=3)
    for stage in run.stages:
        manifests = [run_shard(run, stage, shard) for shard in range(3)]
        assert not any(manifest.usage and manifest.rows_in - manifest.elsewhere for manifest in manifests), stage
        whole = [combine(each, stage, tmp_path / f"{each.path.name}.csv").path.read_bytes() for each in (run, calm)]
        assert whole[0] == whole[1], stage
        assert rejects(run, stage) == rejects(calm, stage)
    rows = pl.read_csv(tmp_path / "run.csv")
    assert rows.select("row_id", "sub_id").is_duplicated().sum() == 0 and set(rows["sub_id"]) > {0}
