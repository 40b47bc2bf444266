"""Different commands meet on one run, killed, terminated and suspended by a seed. `make crash` holds a thousand meetings."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crash.machine import Ended, NoCompiler, memory_folder, shim
from crash.meeting import COMMANDS, Meeting, Visit, draw, fault_of
from crash.meetings import Meetings

SEED = os.environ.get("SHARDMILL_CRASH_SEED", "0")
MEETINGS = int(os.environ.get("SHARDMILL_CRASH_MEETINGS", "6"))


@pytest.fixture(scope="module")
def tester() -> Iterator[Meetings]:
    try:
        shim()
    except NoCompiler as error:
        pytest.skip(str(error))
    with (
        tempfile.TemporaryDirectory(prefix="shardmill-meet-", dir=memory_folder()) as folder,
        closing(Meetings(Path(folder))) as tester,
    ):
        yield tester


def test_commands_that_meet_lose_nothing_and_say_why_they_refuse(tester: Meetings) -> None:
    meetings = [draw(f"{SEED}-{number}", COMMANDS) for number in range(MEETINGS)]
    assert [(str(outcome.meeting), outcome.faults) for outcome in tester.try_all(meetings) if outcome.faults] == []


def test_what_a_command_leaves_behind_is_found(tester: Meetings) -> None:
    visits = (Visit("careless 3", 0.0, "", 0.0, False), Visit("status RUN", 0.0, "", 0.0, False))
    (outcome,) = tester.try_all([Meeting("careless", "ingested", visits)])
    assert outcome.faults == ["out.txt is left over"]


@pytest.mark.parametrize(
    ("code", "told", "fault"),
    [
        (0, "", ""),
        (2, "shardmill: no such stage\n", ""),
        (2, "shardmill: one\nshardmill: two\n", "it told 2 reasons"),
        (2, "", "it told 0 reasons"),
        (70, "Traceback (most recent call last):\nKeyError: 1\n", "it printed a traceback: KeyError: 1"),
        (1, "failed: filter_objects shard 1: the part was changed (log: a)\n", ""),
        (1, "failed: filter_objects shard 1: KeyError: 1 (log: a)\n", "a shard failed without a reason"),
        (75, "shardmill: stopped; 3 of 4 rows\n", ""),
        (-signal.SIGTERM, "", ""),
        (-signal.SIGSEGV, "", "it was ended by SIGSEGV"),
    ],
)
def test_how_a_command_may_end(code: int, told: str, fault: str) -> None:
    found = fault_of(Visit("launch", 0.0, "term", 0.0, False), Ended(code, told, []))
    assert found == fault or (fault and found.startswith(fault))


def test_a_seed_draws_the_same_meeting_again() -> None:
    assert draw("0-1") == draw("0-1") != draw("0-2")
    assert {visit.command for number in range(300) for visit in draw(f"0-{number}").visits} == set(COMMANDS)
