"""A worker that is asked to stop while a request never ends: what is answered is in the journal, and it leaves in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conftest import CAPTIONS, write_captions
from faulty_server import FaultyServer, completion
from shardmill.core.shard_runner import run_shard
from shardmill.store.journal import read_records
from shardmill.store.run_folder import RunFolder
from shardmill.util import signals
from shardmill.util.errors import Stopped
from shardmill.util.signals import StopFlag, end_in_time, stop_requested, stopping_when

STAGE = "extract_objects"
NEVER_ANSWERED = "bicycle"


async def hang_once(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if NEVER_ANSWERED in json.dumps(body["messages"][-1]):
        await asyncio.sleep(600)
    return web.json_response(completion('{"objects": ["dog"]}'))


async def answer_all(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion('{"objects": ["dog"]}'))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer(hang_once)
    yield server
    server.end()


@pytest.fixture
def run(server: FaultyServer, make_run: Callable[..., RunFolder], tmp_path: Path) -> RunFolder:
    """Seven captions in one shard, asked of the server."""
    model = tmp_path / "served.yaml"
    model.write_text(f"role: text\nkind: openai\nmodel: tiny\nbase_urls: [{server.url}]\nschema_mode: none\n")
    table = write_captions(tmp_path / "seven.csv", CAPTIONS[:7])
    return make_run(input=table, num_shards=1, models=[str(model)])


def answered(run: RunFolder) -> int:
    return len(list(read_records(run.files(STAGE, 0).journals(), run.digests(STAGE))))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_answers_are_journaled_while_a_request_hangs_and_a_stop_ends_the_wait(run: RunFolder, server: FaultyServer) -> None:
    stop, ended = threading.Event(), []

    def work() -> None:
        with pytest.raises(Stopped, match="6 of 7 rows are in the journal"):
            run_shard(run, STAGE, 0, should_stop=stop.is_set)
        ended.append(True)

    worker = threading.Thread(target=work)
    worker.start()
    wait_until(lambda: answered(run) == 6)
    stop.set()
    worker.join(30)
    assert ended == [True]
    server.handler, before = answer_all, len(server.bodies)
    assert run_shard(run, STAGE, 0).conserved()
    assert len(server.bodies) == before + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_worker_process_obeys_a_signal_while_a_request_hangs(run: RunFolder, tmp_path: Path, number: signal.Signals) -> None:
    receive, send = os.pipe()
    command = [sys.executable, "-m", "shardmill.launch.worker_main", str(run.path), str(send)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[send], start_new_session=True) as process:
        os.close(send)
        assert process.stdin is not None
        task = {"stage": STAGE, "shard": 0, "log": str(tmp_path / "log"), "lease": {}}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        wait_until(lambda: answered(run) == 6)
        process.send_signal(number)
        assert process.wait(30) == 0
    with os.fdopen(receive) as replies:
        assert json.loads(list(replies)[-1])["end"] == "stopped"
    assert answered(run) == 6
    assert run.files(STAGE, 0).leases() == []


def test_an_idle_worker_process_leaves_at_a_signal(run: RunFolder) -> None:
    receive, send = os.pipe()
    command = [sys.executable, "-m", "shardmill.launch.worker_main", str(run.path), str(send)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[send], start_new_session=True) as process:
        os.close(send)
        assert b"ready" in os.read(receive, 1000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    os.close(receive)


def test_a_process_in_a_call_that_never_returns_is_ended_when_its_grace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.01)
    ended, asked = threading.Event(), threading.Event()
    end_in_time(asked.is_set, ended.set)
    assert not ended.wait(0.1)
    asked.set()
    assert ended.wait(30)


def test_a_process_that_has_left_in_time_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.1)
    ended, asked = threading.Event(), threading.Event()
    left = end_in_time(asked.is_set, ended.set)
    asked.set()
    left.set()
    assert not ended.wait(0.6)


def test_a_signal_acts_as_before_once_the_flag_is_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    flag = StopFlag()
    assert signal.getsignal(signal.SIGTERM) != before
    flag.restore()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_reaches_the_models_of_its_own_thread_only() -> None:
    seen = []
    with stopping_when(lambda: True):
        other = threading.Thread(target=lambda: seen.append(stop_requested()))
        other.start()
        other.join()
        seen.append(stop_requested())
    assert seen == [False, True]
    assert not stop_requested()
