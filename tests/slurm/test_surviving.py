"""What clusters do to jobs, on a real one: whatever happens, every row is there in the end, once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.mill import Mill, local_digests, new_mill

SLOW = 0.25
STAGE = "extract_objects"


@pytest.fixture
def mill(cluster: Cluster, tmp_path: Path) -> Iterator[Mill]:
    """Two shards of 16 rows that take 4 seconds each, two stages, on one node at a time with a worker for each shard."""
    made = new_mill(cluster, tmp_path)
    made.break_things(slow=SLOW)
    yield made


def launch_and_wait_for_rows(mill: Mill, **site: object) -> str:
    """Launch; returns the job of the first element when each of its shards has rows in its journals and none is done."""
    mill.launch("--no-build", **site)
    shards = range(mill.run.num_shards)
    mill.cluster.wait_until(
        lambda: all(mill.rows_done(STAGE, shard) >= 2 for shard in shards), 180, "rows of every shard are in the journals"
    )
    return mill.element(STAGE)


def check_all_is_well(mill: Mill, seconds: float = 300) -> None:
    mill.break_things()
    mill.wait_complete(seconds)
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)


def restarts(mill: Mill, job: str) -> list[int]:
    return sorted(held.restart for held in mill.jobs.allocations() if held.job == job)


def test_the_time_limit_queues_the_job_again_and_it_goes_on(mill: Mill) -> None:
    mill.break_things(slow=5)
    job = launch_and_wait_for_rows(mill)
    mill.cluster.expire(job, 30)
    mill.cluster.wait_until(lambda: restarts(mill, job) == [0, 1], 300, "the job started again")
    check_all_is_well(mill)
    mill.cluster.wait_for_empty(180)
    assert [held.outcome for held in mill.jobs.allocations() if held.job == job] == ["stopped", "done"]
    assert mill.jobs.failures(STAGE) == []


def test_a_requeued_job_goes_on(mill: Mill) -> None:
    mill.break_things(slow=2)
    job = launch_and_wait_for_rows(mill)
    mill.cluster.requeue(job)
    mill.cluster.wait_until(lambda: restarts(mill, job) == [0, 1], 180, "the job started again")
    check_all_is_well(mill)


@pytest.mark.parametrize("partition", ["spot", "spotkill"])
def test_a_preempted_job_comes_back(mill: Mill, partition: str) -> None:
    mill.break_things(slow=2)
    job = launch_and_wait_for_rows(mill, partition=partition)
    urgent = mill.cluster.submit("sleep 1", "--partition=urgent", "--nodes=2", "--exclusive")
    mill.cluster.wait_until(lambda: restarts(mill, job) == [0, 1], 300, "the job started again")
    check_all_is_well(mill)
    assert mill.cluster.state(urgent) == "COMPLETED"


def test_a_node_that_loses_power_is_replaced(mill: Mill) -> None:
    mill.break_things(slow=2)
    job = launch_and_wait_for_rows(mill)
    lost = mill.cluster.node_of(job)
    mill.cluster.kill_node(lost)
    mill.cluster.wait_until(lambda: restarts(mill, job) == [0, 1], 300, "the job started again")
    check_all_is_well(mill)
    assert {held.node for held in mill.jobs.allocations() if held.job == job} == {"n1", "n2"}


def test_a_node_that_only_lost_contact_works_on_and_nothing_is_doubled(mill: Mill) -> None:
    mill.break_things(slow=6)
    job = launch_and_wait_for_rows(mill)
    lost = mill.cluster.node_of(job)
    mill.cluster.drop_node(lost)
    mill.cluster.wait_until(lambda: restarts(mill, job) == [0, 1], 300, "the job started again, the first one living on")
    mill.cluster.wait_until(lambda: len(mill.run.files(STAGE, 0).journals()) > 1, 120, "two workers write")
    check_all_is_well(mill)
    assert mill.jobs.failures(STAGE) == []


def test_a_worker_killed_for_memory_is_replaced_and_the_other_shards_do_not_notice(mill: Mill) -> None:
    mill.break_things(slow=1)
    job = launch_and_wait_for_rows(mill)
    worker = next(iter(worker_processes(mill)))
    os.kill(worker, signal.SIGKILL)
    mill.cluster.wait_until(lambda: mill.jobs.failures(STAGE), 120, "the death is on record")
    failure = mill.jobs.failures(STAGE)[0]
    assert (failure.kind, failure.job, failure.progressed) == ("died", job, True)
    assert "SIGKILL" in failure.message
    check_all_is_well(mill)
    assert restarts(mill, job) == [0]


def worker_processes(mill: Mill) -> list[int]:
    text = subprocess.run(["pgrep", "-f", f"worker_main {mill.run.path}"], capture_output=True, text=True).stdout
    return [int(pid) for pid in text.split()]


def test_a_bad_node_is_named_and_its_shards_move_on_uncounted(mill: Mill) -> None:
    mill.break_things(bad_nodes=["n1"])
    mill.launch("--no-build")
    mill.wait_complete()
    mill.cluster.wait_for_empty(180)
    assert {bad.node for bad in mill.jobs.bad_nodes()} == {"n1"}
    assert mill.jobs.quarantined(STAGE) == {}
    assert {held.node for held in mill.jobs.allocations() if held.outcome == "done"} == {"n2"}
    check_all_is_well(mill)


def test_a_node_that_fails_its_health_check_gets_no_shard(mill: Mill) -> None:
    check = mill.folder / "check.sh"
    check.write_text('#!/bin/sh\n[ "$SLURMD_NODENAME" != n1 ] || { echo "GPU 3 has fallen off the bus" >&2; exit 1; }\n')
    check.chmod(0o755)
    mill.break_things()
    mill.launch("--no-build", health_check=[str(check)])
    mill.wait_complete()
    assert "fallen off the bus" in mill.jobs.bad_nodes()[0].reason
    assert all(mill.jobs.failures(stage) == [] for stage in mill.run.stages)
    check_all_is_well(mill)


def test_where_no_node_is_fit_nothing_is_left_pending(mill: Mill) -> None:
    check = mill.folder / "check.sh"
    check.write_text("#!/bin/sh\necho no driver >&2\nexit 1\n")
    check.chmod(0o755)
    mill.break_things()
    mill.launch("--no-build", health_check=[str(check)])
    mill.cluster.wait_for_empty(180)
    assert {bad.node for bad in mill.jobs.bad_nodes()} == {"n1", "n2"}
    assert [mill.jobs.quarantined(stage) for stage in mill.run.stages] == [{}, {}]
    check.write_text("#!/bin/sh\nexit 0\n")
    mill.shardmill("retry", mill.run.path)
    check_all_is_well(mill)


def test_a_poisoned_shard_is_quarantined_and_holds_back_only_itself(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=48, shards=3)
    mill.break_things(poison="room 20.")  # a row of shard 1
    mill.launch("--no-build", "--shards-per-node", "3", cpu_workers_per_node=2)
    others = [(stage, shard) for stage in mill.run.stages for shard in (0, 2)]
    mill.cluster.wait_until(lambda: all(mill.fresh().is_complete(*task) for task in others), 300, "the others are done")
    mill.cluster.wait_for_empty(180)
    assert list(mill.jobs.quarantined(STAGE)) == [1]
    assert mill.jobs.bad_nodes() == []
    assert not mill.fresh().is_complete(STAGE, 1)
    assert "SIGKILL" in mill.shardmill("failures", mill.run.path)
    again = mill.launch()
    assert "quarantined" in again
    assert mill.cluster.squeue() == []
    mill.break_things()
    mill.shardmill("retry", mill.run.path)
    check_all_is_well(mill)


def test_a_job_that_never_gets_anywhere_is_given_up(mill: Mill) -> None:
    mill.break_things(slow=1000)
    mill.launch("--no-build")
    job = mill.element(STAGE)
    for starts in ([0], [0, 1], [0, 1, 2]):
        mill.cluster.wait_until(partial(lambda wanted: restarts(mill, job) == wanted, starts), 60, f"starts {starts}")
        mill.cluster.wait_until(lambda: len(worker_processes(mill)) == 2, 120, "its workers are at it")
        mill.cluster.run("scancel", "--signal=USR2", job)
    mill.cluster.wait_for_empty(180)
    assert {failure.kind for failure in mill.jobs.failures(STAGE)} == {"stuck"}
    assert sorted(mill.jobs.quarantined(STAGE)) == [0, 1]


def test_cancelling_and_launching_again_goes_on(mill: Mill) -> None:
    mill.break_things(slow=2)
    launch_and_wait_for_rows(mill)
    assert "cancelled" in mill.shardmill("cancel", mill.run.path)
    done = [mill.rows_done(STAGE, shard) for shard in range(2)]
    assert min(done) >= 2
    mill.launch()
    check_all_is_well(mill)
    assert len(mill.jobs.submissions()) == 2


def test_idle_workers_take_rows_of_the_shard_that_is_left(cluster: Cluster, tmp_path: Path) -> None:
    mill = new_mill(cluster, tmp_path, rows=384, shards=3, turtles=128)
    mill.break_things(slow=0.3, slow_word="turtle")
    mill.launch("--no-build")
    files = mill.run.files(STAGE, 0)

    def writers() -> int:
        return sum(path.read_bytes().count(b"\n") > 1 for path in files.journals() if path.exists())

    cluster.wait_until(lambda: writers() >= 3, 180, "three workers write rows of the slow shard")
    mill.break_things()
    mill.wait_complete()
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)
