"""How many requests a server gets at once is found by trying, where no limits are given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from faulty_server import FaultyServer, completion, slow
from shardmill.core.prompts import Prompt, load_template
from shardmill.models.contract import Sampling, TextRequest
from shardmill.models.text import openai_endpoints, openai_window
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_window import RequestWindow


class Busy:
    """Has room for so many requests at once; the others get the status 429."""

    def __init__(self, server: FaultyServer, room: int):
        self.room, self.now, self.rejected, self.most = room, 0, 0, 0
        server.handler = self

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.now >= self.room:
            self.rejected += 1
            return web.json_response({"error": {"message": "too many requests"}}, status=429, headers={"Retry-After": "0"})
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        return web.json_response(completion("{}"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(openai_endpoints, "MIN_BACKOFF", 0.005)
    server = FaultyServer(slow)
    yield server
    server.end()


def requests(count: int) -> list[TextRequest]:
    prompt = Prompt(load_template("negbench/extract_objects"), {"caption": "a dog"})
    return [TextRequest(prompt, Sampling(), None, str(number)) for number in range(count)]


def test_a_limit_that_nobody_has_given_is_found_and_every_request_is_answered(server: FaultyServer) -> None:
    busy = Busy(server, room=6)
    model = OpenAIModel(model="m", base_urls=[server.url], max_in_flight=64)
    assert {reply.finish for reply in model.stream(requests(600))} == {"stop"}
    (endpoint,) = model._pool.endpoints.values()
    assert busy.most == 6 and 1 <= endpoint.window.size < 20
    assert busy.rejected < 300, "a client that does not learn is rejected ten times as often as it is answered"


def test_where_limits_are_given_they_count_alone(server: FaultyServer) -> None:
    Busy(server, room=64)
    model = OpenAIModel(model="m", base_urls=[server.url], requests_per_minute=6_000)
    list(model.stream(requests(5)))
    assert all(math.isinf(endpoint.window.size) for endpoint in model._pool.endpoints.values())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(openai_window.time, "monotonic", lambda: now[0])
    return now


def test_a_rejection_halves_the_window_once_for_all_that_were_sent_before(clock: list[float]) -> None:
    window = RequestWindow(64)
    for _ in range(40):
        window.rejected(started=99.0)
    assert window.size == 32
    clock[0] += 1
    window.rejected(started=100.5)
    assert window.size == 16
    for _ in range(10):
        clock[0] += 1
        window.rejected(started=clock[0] - 0.5)
    assert window.size == 1


def test_a_window_grows_by_one_after_a_round_of_answers_only_where_it_was_needed(clock: list[float]) -> None:
    window = RequestWindow(64)
    window.rejected(started=99.5)
    for _ in range(32):
        window.answered(clock[0] - 1, 10, in_flight=3)
    assert window.size == 32
    for _ in range(33):
        window.answered(clock[0] - 1, 10, in_flight=32)
    assert 32.9 < window.size < 33.1
    for _ in range(10_000):
        window.answered(clock[0] - 1, 10, in_flight=64)
    assert window.size == 64


def test_answers_that_become_far_slower_lower_the_window_and_long_ones_do_not(clock: list[float]) -> None:
    window = RequestWindow(64)
    for _ in range(20):
        window.answered(clock[0] - 1, 10, in_flight=64)
    for _ in range(40):
        clock[0] += 1
        window.answered(clock[0] - 10, 10 * 26 - 16, in_flight=64)
    assert window.size == 64
    for _ in range(40):
        clock[0] += 1
        window.answered(clock[0] - 30, 10, in_flight=64)
    assert window.size < 64


def test_a_best_time_that_was_too_good_is_forgotten(clock: list[float]) -> None:
    window = RequestWindow(8)
    for _ in range(20):
        window.answered(clock[0] - 0.01, 10, in_flight=8)
    for _ in range(3_000):
        clock[0] += 1
        window.answered(clock[0] - 1, 10, in_flight=8)
    assert window.size == 8
