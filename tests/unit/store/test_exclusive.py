"""Two commands that change one run: the second is refused, or starts from what the first has left; never from an old plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from shardmill.core.plan_changes import redo
from shardmill.core.shard_runner import run_shard
from shardmill.store import exclusive as exclusive_module
from shardmill.store.exclusive import exclusive
from shardmill.store.leases import this_process
from shardmill.store.replan import replan
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import reopen_rejected
from shardmill.util.errors import UserError
from shardmill.util.processes import process_start

DOING = "another command is at work"


@pytest.fixture
def other_process() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def leave(path: Path, **owner: object) -> bytes:
    content = json.dumps(asdict(replace(this_process(), **owner))).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def test_another_process_is_kept_out_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from shardmill.store.exclusive import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'another command is at work'): print('in')\n"
    )
    with exclusive(path, DOING):
        refused = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert f"{DOING} (process {os.getpid()})" in refused.stderr
    assert subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True).stdout == "in\n"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_keeps_nobody_out(tmp_path: Path) -> None:
    leave(tmp_path / "lock", started="1")
    with exclusive(tmp_path / "lock", DOING):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_find_a_stale_one_only_one_gets_in(tmp_path: Path) -> None:
    """The slower one has read the stale file, and the faster one has put its own in its place by now."""
    stale = leave(tmp_path / "lock", started="1")
    fresh = leave(tmp_path / "lock")
    exclusive_module._remove(tmp_path / "lock", stale)
    assert (tmp_path / "lock").read_bytes() == fresh


def test_a_change_of_the_plan_starts_from_the_plan_that_another_has_left(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    early = RunFolder(run.path)
    assert early.plan.revision == 1
    redo(run, "filter_objects", ["filter_objects.present_above=0.5"])
    redo(early, "caption_negated")
    assert RunFolder(run.path).stage("filter_objects").options["present_above"] == 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda run: redo(run, "extract_objects"),
        lambda run: replan(run, num_shards=3),
        lambda run: reopen_rejected(run, "extract_objects"),
    ],
)
def test_a_change_beside_another_is_refused_with_its_process(
    make_run: Callable[..., RunFolder], other_process: int, change: Callable[[RunFolder], object]
) -> None:
    run = make_run()
    for shard in range(run.num_shards):
        run_shard(run, "extract_objects", shard)
    before = run.files("extract_objects", 0).manifest.read_bytes()
    leave(run.path / "jobs" / "changing.json", pid=other_process, started=process_start(other_process))
    with pytest.raises(UserError, match=rf"another command is changing .* \(process {other_process}\)"):
        change(run)
    assert run.files("extract_objects", 0).manifest.read_bytes() == before
