"""Sharing one limit of nodes among the arrays of a run."""

from __future__ import annotations

from shardmill.launch.slurm import Job
from shardmill.launch.throttle import wanted_shares
from shardmill.store.jobs import ArrayRecord


def array(job: str, stage: str, count: int, chained_to: str | None = None) -> ArrayRecord:
    return ArrayRecord(
        job=job, stages=[stage], elements=[[shard] for shard in range(count)], workers=8, gpus=8, cpus=8, minutes=60,
        chained_to=[chained_to] if chained_to else [],
    )  # fmt: skip


def queue(**states: str) -> dict[str, Job]:
    """One letter for each element: r runs, w waits for a node, d waits for its dependency, e has ended."""
    words = {"r": ("RUNNING", "None"), "w": ("PENDING", "JobArrayTaskLimit"), "d": ("PENDING", "Dependency")}
    found = {}
    for name, letters in states.items():
        for index, letter in enumerate(letters):
            if letter != "e":
                found[f"{name[1:]}_{index}"] = Job(f"{name[1:]}_{index}", words[letter][0], reason=words[letter][1])
    return found


ARRAYS = [array("1", "a", 6), array("2", "b", 6), array("3", "c", 6)]


def test_the_share_of_a_stage_that_cannot_start_goes_to_the_one_that_can() -> None:
    assert wanted_shares(ARRAYS, queue(_1="rwwwww", _2="dddddd", _3="dddddd"), 6) == {"1": 4, "2": 1, "3": 1}


def test_later_stages_come_first() -> None:
    assert wanted_shares(ARRAYS, queue(_1="eeeerw", _2="eewwdd", _3="wwdddd"), 6) == {"1": 2, "2": 2, "3": 2}
    assert wanted_shares(ARRAYS, queue(_1="eeeerw", _2="eewwdd", _3="wwdddd"), 4) == {"1": 1, "2": 1, "3": 2}


def test_the_shares_never_exceed_the_limit_and_never_fall_below_what_runs() -> None:
    for most in (3, 4, 6, 9):
        for state in (queue(_1="rrrwww", _2="dddddd", _3="dddddd"), queue(_1="eeeeee", _2="rwwwww", _3="wwwwww")):
            shares = wanted_shares(ARRAYS, state, most)
            running = {job: sum(each.running for id, each in state.items() if id.startswith(f"{job}_")) for job in shares}
            assert all(shares[job] >= max(1, running[job]) for job in shares)
            assert sum(shares.values()) <= max(most, sum(max(1, count) for count in running.values()))


def test_ended_arrays_and_those_behind_another_have_no_share() -> None:
    arrays = [array("1", "a", 3), array("2", "b", 3, chained_to="1")]
    assert wanted_shares(arrays, queue(_1="rww", _2="ddd"), 3) == {"1": 3}
    assert wanted_shares(arrays, queue(_1="eee", _2="www"), 3) == {"2": 3}
