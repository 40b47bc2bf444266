"""What is on record of launches: quarantine, and who is to blame."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.launch.launch_lock import one_launch_at_a_time
from shardmill.store.allocations import LiveAllocation
from shardmill.store.jobs import (
    Allocation,
    ArrayRecord,
    BadNode,
    Failure,
    JobsFolder,
    Submission,
)
from shardmill.store.leases import this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

STAGE = "extract_objects"


@pytest.fixture
def jobs(make_run: Callable[..., RunFolder]) -> JobsFolder:
    return JobsFolder(make_run())


def fail(jobs: JobsFolder, shard: int, **values: Any) -> None:
    told = {"kind": "died", "message": "gone", "node": "n1", "job": "7_0", **values}
    jobs.note_failure(Failure(stage=STAGE, shard=shard, **told))


def test_three_deaths_without_progress_quarantine_a_shard(jobs: JobsFolder) -> None:
    fail(jobs, 1)
    fail(jobs, 1)
    fail(jobs, 2)
    assert jobs.quarantined(STAGE) == {}
    fail(jobs, 1, message="the last")
    assert {shard: failure.message for shard, failure in jobs.quarantined(STAGE).items()} == {1: "the last"}


def test_progress_gives_the_attempts_back(jobs: JobsFolder) -> None:
    for progressed in (False, False, True, False):
        fail(jobs, 1, progressed=progressed)
    assert jobs.quarantined(STAGE) == {}
    fail(jobs, 1)
    assert list(jobs.quarantined(STAGE)) == [1]


@pytest.mark.parametrize(("kind", "attempts"), [("died", 3), ("error", 2), ("refused", 1), ("stuck", 1)])
def test_what_cannot_be_chance_is_not_tried_again(jobs: JobsFolder, kind: str, attempts: int) -> None:
    for _ in range(attempts - 1):
        fail(jobs, 0, kind=kind)
    assert jobs.quarantined(STAGE) == {}
    fail(jobs, 0, kind=kind)
    assert list(jobs.quarantined(STAGE)) == [0]


def test_what_a_bad_node_failed_does_not_count_until_it_is_cleared(jobs: JobsFolder) -> None:
    for _ in range(3):
        fail(jobs, 1)
    jobs.note_bad_node(BadNode(node="n1", reason="fails everything", stage=STAGE, job="7_0"))
    assert jobs.quarantined(STAGE) == {}
    assert [bad.node for bad in jobs.bad_nodes()] == ["n1"]
    fail(jobs, 1, job="7_0", restart=1, node="n2")
    assert jobs.quarantined(STAGE) == {}
    jobs.clear_nodes({"n1"})
    assert list(jobs.quarantined(STAGE)) == [1]


def test_a_node_is_cleared_by_its_whole_name(jobs: JobsFolder) -> None:
    for node in ("n1", "n11"):
        jobs.note_bad_node(BadNode(node=node, reason="x", stage=STAGE))
    jobs.clear_nodes({"n1"})
    assert [bad.node for bad in jobs.bad_nodes()] == ["n11"]


def test_a_finished_shard_is_not_quarantined_and_forgetting_gives_attempts_back(jobs: JobsFolder) -> None:
    for shard in (0, 1):
        fail(jobs, shard, kind="refused")
    run_shard(jobs.run, STAGE, 0)
    assert list(jobs.quarantined(STAGE)) == [1]
    jobs.forget_failures(STAGE, [1])
    assert jobs.quarantined(STAGE) == {}
    assert [failure.shard for failure in jobs.failures(STAGE)] == [0]


def test_a_held_node_lasts_until_it_is_let_go_or_was_last_seen(jobs: JobsFolder) -> None:
    begun = time.time() - 100
    allocation = Allocation(stages=[STAGE], job="7_0", node="n1", gpus=8, cpus=8, started=begun)
    with LiveAllocation(jobs, allocation) as held:
        seen = jobs.allocations()[0]
        assert seen.outcome == ""
        assert seen.ended is not None and seen.ended - begun == pytest.approx(100, abs=5)
        held.outcome = "done"
    assert [(each.outcome, each.node) for each in jobs.allocations()] == [("done", "n1")]


def test_launches_are_kept_in_order(jobs: JobsFolder) -> None:
    first = jobs.add_submission(Submission(site="a"))
    jobs.add_submission(Submission(site="b"))
    array = ArrayRecord(job="5", stages=[STAGE], elements=[[0, 1], [2]], workers=2, gpus=0, cpus=2, minutes=5)
    jobs.update_submission(first, Submission(site="a", arrays=[array]))
    assert [each.site for each in jobs.submissions()] == ["a", "b"]
    assert jobs.submissions()[0].arrays[0].ids() == ["5_0", "5_1"]


def test_two_launches_at_once_are_refused_and_a_dead_one_holds_nobody_up(jobs: JobsFolder) -> None:
    with one_launch_at_a_time(jobs), pytest.raises(UserError, match="another launch"), one_launch_at_a_time(jobs):
        pass
    dead = replace(this_process(), started="1")
    (jobs.path / "launching.json").write_text(json.dumps(asdict(dead)))
    with one_launch_at_a_time(jobs):
        assert (jobs.path / "launching.json").exists()
    assert not (jobs.path / "launching.json").exists()


def test_an_array_of_one_is_a_plain_job() -> None:
    assert ArrayRecord(job="5", stages=[STAGE], elements=[[0]], workers=1, gpus=0, cpus=1, minutes=5).ids() == ["5"]


def test_a_damaged_record_is_named(jobs: JobsFolder) -> None:
    path = jobs.add_submission(Submission(site="a"))
    path.write_text("{")
    with pytest.raises(UserError, match=r"0000\.json is damaged"):
        jobs.submissions()


def test_an_allocation_for_several_stages_is_shared_out_by_their_work() -> None:
    both = Allocation(stages=["a", "b"], job="7", node="n1", gpus=8, cpus=8, started=0, ended=3600)
    worked = {"a": 30.0, "b": 10.0, "c": 60.0}
    assert [both.share_of(stage, worked) for stage in "abc"] == [0.75, 0.25, 0.0]
    assert [both.share_of(stage, {}) for stage in "ab"] == [1.0, 0.0]
