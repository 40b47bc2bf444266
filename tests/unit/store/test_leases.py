"""Claims on blocks of rows: exclusive, let go, taken over from the dead, and a shard shared by several workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shardmill.core.model_shard import pool_key
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Model, Reply
from shardmill.models.registry import open_model
from shardmill.store import leases as claims_module
from shardmill.store.layout import ShardFiles
from shardmill.store.leases import (
    STALE_SECONDS,
    LeaseOwner,
    Leases,
    ShardBusy,
    blocks,
    lease_path,
    live_blocks,
    live_blocks_of,
    this_process,
)
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import Stopped
from shardmill.util.processes import process_start

STAGE = "extract_objects"


@pytest.fixture
def files(tmp_path: Path) -> ShardFiles:
    (tmp_path / "stage").mkdir()
    return ShardFiles(tmp_path / "stage", 3, 16)


def holder(name: str, **changes: object) -> LeaseOwner:
    return replace(this_process(name), **changes)


def test_the_blocks_of_a_shard_cover_its_rows_once() -> None:
    for rows in (0, 1, 31, 64, 1000, 12345):
        cut = blocks(rows)
        assert [row for start, end in cut for row in range(start, end)] == list(range(rows))
        assert len(cut) <= 16
        assert len(cut) == 1 or min(end - start for start, end in cut) >= 32


def test_a_block_is_one_workers_until_it_lets_go(files: ShardFiles) -> None:
    with Leases(files, holder("a")) as first, Leases(files, holder("b")) as second:
        assert first.take(0)
        assert first.take(0)
        assert not second.take(0)
        assert second.take(1)
        assert first.others() == {1}
        assert live_blocks(files).keys() == {0, 1}
    assert files.leases() == []
    assert [path.suffixes[0] for path in files.temporaries()] == [".block-00", ".block-01"]  # tidied with the finished shard


def test_the_claims_on_many_shards_are_seen_in_one_look(files: ShardFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [replace(files, index=index, count=40) for index in range(40)]
    with Leases(shards[3], holder("a")) as third, Leases(shards[30], holder("b")) as thirtieth:
        assert third.take(0) and third.take(2) and thirtieth.take(1)
        listed: list[object] = []
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: (listed.append(path), scandir(path))[1])
        found = live_blocks_of([shards[30], shards[3], shards[13]])
        assert [sorted(blocks) for blocks in found] == [[1], [0, 2], []]
        assert found[1] == live_blocks(shards[3])
        assert len(listed) == 2  # one of them for the comparison
    assert live_blocks_of([]) == []


def test_the_claim_of_a_process_that_is_gone_is_taken_over_at_once(files: ShardFiles) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_start(gone.pid)
    gone.communicate(b"\n")
    assert started
    leave_claim(files, holder("dead", pid=gone.pid, started=started))
    with Leases(files, holder("next")) as claims:
        assert live_blocks(files) == {}
        assert claims.take(0)
        assert live_blocks(files)[0].attempt == "next"


def test_a_process_number_used_again_is_not_the_holder(files: ShardFiles) -> None:
    leave_claim(files, holder("dead", pid=os.getpid(), started="1"))
    assert live_blocks(files) == {}


def test_a_claim_from_another_machine_lives_while_it_is_touched(files: ShardFiles) -> None:
    leave_claim(files, holder("far", machine="elsewhere", pid=1))
    with Leases(files, holder("near")) as claims:
        assert not claims.take(0)
        long_ago = time.time() - STALE_SECONDS - 5
        os.utime(lease_path(files, 0), (long_ago, long_ago))
        assert claims.take(0)


def test_a_job_that_started_again_does_not_wait_for_its_earlier_start(files: ShardFiles) -> None:
    leave_claim(files, holder("first", machine="elsewhere", job="12_3", restart=0))
    assert live_blocks(files, holder("other", job="12_4", restart=1)).keys() == {0}
    assert live_blocks(files, holder("second", job="12_3", restart=1)) == {}


def test_claims_are_touched_while_they_are_held(files: ShardFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "RENEW_SECONDS", 0.05)
    with Leases(files, holder("a")) as claims:
        claims.take(0)
        os.utime(lease_path(files, 0), (0, 0))
        time.sleep(0.3)
        assert time.time() - lease_path(files, 0).stat().st_mtime < 5


def test_a_damaged_claim_holds_nobody_up(files: ShardFiles) -> None:
    files.leases_folder.mkdir(parents=True)
    lease_path(files, 0).write_text("{torn")
    with Leases(files, holder("a")) as claims:
        assert claims.take(0)


def leave_claim(files: ShardFiles, who: LeaseOwner) -> None:
    """The claim of a worker that was killed."""
    dead = Leases(files, who)
    dead.__enter__()
    assert dead.take(0)
    dead._end.set()


class Meeting(Model):
    """The rules model, which calls `meet` once before its n-th answer: time for another worker to come in."""

    def __init__(self, at: int, meet: Callable[[], None]):
        self._model, self._at, self._meet, self.answered = open_model("text", {"kind": "rules"}), at, meet, 0

    def stream(self, requests):  # type: ignore[no-untyped-def]
        for reply in self._model.stream(requests):
            self.answered += 1
            if self.answered == self._at:
                self._meet()
            assert isinstance(reply, Reply)
            yield reply


KEY = pool_key("text", {"kind": "rules"})


@pytest.fixture
def big_run(make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    table = tmp_path / "many.csv"
    table.write_text("caption\n" + "".join(f"A dog and a cat in room {row}.\n" for row in range(640)))
    return make_run("shared", input=table, num_shards=1)


def test_two_workers_share_a_shard_and_the_part_is_that_of_one(big_run: RunFolder, make_run: Callable[..., RunFolder]) -> None:
    helper = Meeting(0, lambda: None)

    def come_and_help() -> None:
        with pytest.raises(ShardBusy):
            run_shard(big_run, STAGE, 0, models={KEY: helper}, owner=this_process())

    owner = Meeting(5, come_and_help)
    manifest = run_shard(big_run, STAGE, 0, models={KEY: owner}, owner=this_process())
    assert helper.answered == 640 - 40
    assert owner.answered == 40
    alone = make_run("alone", input=Path(big_run.plan.input.path), num_shards=1)
    assert manifest.part.sha256 == run_shard(alone, STAGE, 0).part.sha256
    assert manifest.conserved()
    assert big_run.files(STAGE, 0).temporaries() == []


def test_rows_of_a_helper_that_has_left_again_are_not_done_twice(big_run: RunFolder) -> None:
    helper = Meeting(0, lambda: None)

    def come_and_leave_early() -> None:
        with pytest.raises(Stopped):
            run_shard(big_run, STAGE, 0, models={KEY: helper}, owner=this_process(), should_stop=lambda: helper.answered >= 100)

    owner = Meeting(5, come_and_leave_early)
    assert run_shard(big_run, STAGE, 0, models={KEY: owner}, owner=this_process()).conserved()
    assert helper.answered == 100
    assert owner.answered == 640 - 100
    assert big_run.files(STAGE, 0).temporaries() == []


def test_a_block_tells_that_it_was_taken_over(files: ShardFiles) -> None:
    with Leases(files, holder("first")) as first:
        assert first.take(0) and first.take(1)
        assert not first.was_taken_over(0)
    leave_claim(replace(files, index=4), holder("dead", machine="elsewhere", job="12_3", restart=0))
    with Leases(files, holder("next")) as following:
        assert following.take(0) and following.take(2)
        assert following.was_taken_over(0) and not following.was_taken_over(2)
    with Leases(replace(files, index=4), holder("again", job="12_3", restart=1)) as over:
        assert over.take(0) and over.was_taken_over(0)


def test_who_finds_everything_held_leaves_nothing_behind(big_run: RunFolder) -> None:
    small = Leases(big_run.files(STAGE, 0), holder("other"))
    big_run.folder(STAGE).mkdir(exist_ok=True)
    with small:
        assert all(small.take(block) for block in range(len(blocks(640))))
        with pytest.raises(ShardBusy):
            run_shard(big_run, STAGE, 0, owner=this_process())
        assert big_run.files(STAGE, 0).journals() == []
    assert run_shard(big_run, STAGE, 0, owner=this_process()).rows_in == 640


def test_a_table_stage_is_one_workers(big_run: RunFolder) -> None:
    for stage in big_run.stages[: big_run.stages.index("create_mcq")]:
        for shard in range(big_run.num_shards):
            run_shard(big_run, stage, shard)
    with Leases(big_run.files("create_mcq", 0), holder("other")) as other:
        assert other.take(0)
        big_run.folder("create_mcq").mkdir(exist_ok=True)
        with pytest.raises(ShardBusy):
            run_shard(big_run, "create_mcq", 0, owner=this_process())
    assert run_shard(big_run, "create_mcq", 0, owner=this_process()).conserved()
