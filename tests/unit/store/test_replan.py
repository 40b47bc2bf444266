"""`shardmill replan` beside what test_reworking.py says of it: damage, rejects, and rows of every round are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.launch.finish import tidy
from shardmill.store import at_work
from shardmill.store import replan as replanning
from shardmill.store.at_work import presence
from shardmill.store.combine import combine
from shardmill.store.leases import Presence, this_process
from shardmill.store.replan import replan
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.atomic import temporary_name
from shardmill.util.errors import PlanChanged, Stopped, UserError
from shardmill.util.processes import process_mark
from shardmill.util.progress import Progress

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
    paid = sum(manifest.usage["requests"] - manifest.usage["retries"] for manifest in manifests)
    assert paid == pytest.approx(kept + asked), "paid for, kept or not"
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


def test_a_run_with_a_worker_or_a_launch_at_work_is_not_cut_anew(make_run: MakeRun) -> None:
    run = make_run()
    refused: list[str] = []

    def meanwhile(progress: Progress) -> None:
        with pytest.raises(UserError) as error:
            replan(RunFolder(run.path), num_shards=3)
        refused.append(str(error.value))

    run_shard(run, "extract_objects", 0, report=meanwhile)
    with presence(run, this_process("1700000000000-launch", node="node-7")):
        meanwhile(Progress(0, 0, 0, 0))
    assert all(line.startswith(f"1 process is at work on {run.path} (process {os.getpid()}") for line in refused)
    assert "on node-7" in refused[-1] and len(refused) > 1
    assert replan(RunFolder(run.path), num_shards=3).num_shards == 3


def test_the_sign_of_a_worker_that_is_dead_keeps_nobody_from_a_replan(make_run: MakeRun) -> None:
    run = make_run()
    left = Presence(run.path / "jobs" / "claims" / "dead.card.tmp", replace(this_process(), pid=2**22 + 1, started="1"))
    left.__enter__()
    assert replan(run, num_shards=3).num_shards == 3
    assert not left.path.exists()


def test_no_worker_starts_while_a_replan_is_under_way(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, refused = make_run(), []
    replace_plan = replanning.replace_plan

    def meanwhile(*words: Any) -> Any:
        with pytest.raises(UserError) as error:
            run_shard(RunFolder(run.path), "extract_objects", 0)
        refused.append(str(error.value))
        return replace_plan(*words)

    monkeypatch.setattr(replanning, "replace_plan", meanwhile)
    assert replan(run, num_shards=3).num_shards == 3
    assert refused[0].startswith(f"{run.path} is being cut into other shards (process {os.getpid()})")
    assert run_shard(RunFolder(run.path), "extract_objects", 0).conserved()


@pytest.mark.parametrize("killed_at", ["_keep_rows", "replace_plan", "_swept"])
def test_what_a_killed_replan_leaves_is_removed_by_the_next_build(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    run = make_run()
    for shard in range(4):
        run_shard(run, "extract_objects", shard)
    calls, original = iter(range(100)), getattr(replanning, killed_at)

    def cut_off(*words: Any) -> Any:
        if next(calls) >= (0 if killed_at == "replace_plan" else 1):
            raise KeyboardInterrupt
        return original(*words)

    monkeypatch.setattr(replanning, killed_at, cut_off)
    with pytest.raises(KeyboardInterrupt):
        replan(RunFolder(run.path), num_shards=3)
    monkeypatch.undo()
    run = RunFolder(run.path)
    assert run.num_shards == (3 if killed_at == "_swept" else 4)
    assert others(run)
    tidy(run)
    assert not others(run)
    for shard in range(run.num_shards):
        assert run_shard(run, "extract_objects", shard).conserved()


def test_a_plan_that_a_killed_redo_was_writing_is_removed(make_run: MakeRun) -> None:
    run = make_run()
    own = temporary_name(run.path / "plan.json")
    killed = own.with_name(own.name.replace(process_mark(), process_mark() + "0"))
    for path in (own, killed):
        path.write_text("{")
    tidy(run)
    assert own.exists()
    assert not killed.exists()


def others(run: RunFolder) -> list[Path]:
    return [
        path
        for path in run.path.rglob("part-*-of-*")
        if f"-of-{run.num_shards:05d}." not in path.name and "superseded" not in str(path)
    ]


def test_a_worker_that_was_overtaken_by_a_replan_publishes_nothing(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended for so long that a replan on another machine took it for dead."""
    run = make_run()
    monkeypatch.setattr(at_work, "processes_at_work", lambda run: [])
    replanned = iter([1])

    def meanwhile(progress: Progress) -> None:
        if next(replanned, None):
            replan(RunFolder(run.path), num_shards=3)

    with pytest.raises(PlanChanged, match="was cut into 3 shards while a worker was at work; continue: shardmill launch"):
        run_shard(run, "extract_objects", 0, report=meanwhile)
    run = RunFolder(run.path)
    tidy(run)
    assert not others(run)
    assert run_shard(run, "extract_objects", 0).conserved()


def test_shards_of_another_plan_are_not_mixed_into_the_new_ones(make_run: MakeRun) -> None:
    run = make_run()
    for stage in ("extract_objects", "propose_negatives"):
        manifests = [run_shard(run, stage, shard) for shard in range(4)]
    first = run.manifest("extract_objects", 2)
    assert first is not None and manifests
    strange = first.model_copy(update={"fingerprint": {**first.fingerprint, "options": "{}"}})
    run.files("extract_objects", 2).manifest.write_bytes(strange.to_bytes())
    with pytest.raises(UserError, match="extract_objects: shards 2: made with another fingerprint"):
        replan(run, num_shards=3)
